import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test, vi } from 'vitest';
import {
  allClosed,
  answering,
  error,
  expectOneAnswer,
  flooding,
  ok,
  okEmpty,
  onRequest,
  post,
  startEndpoint,
  startTransport,
  trickling,
} from '../helpers/endpoint.js';
import { eventually } from '../helpers/poll.js';

vi.setConfig({ testTimeout: 30_000 });

/** What an attempt gets that is meant to run into its deadline, in milliseconds. */
const short = 300;
/** How much later than at its deadline an attempt may end, on a busy machine. */
const late = 5_000;
/** How long an attempt may take that ends by itself, where its deadline is far. */
const soon = 5_000;

describe('the deadline ends the attempt and its socket where an endpoint', () => {
  test.for<[string, (socket: Socket) => void]>([
    ['never answers', (socket) => void socket.resume()],
    ['never reads', (socket) => void socket.pause()],
    ['sends its status line a byte at a time', trickling('HTTP/1.1 200 ', 'O')],
    ['sends a header a byte at a time', trickling(`${ok}x-slow: `, 'a')],
    ['sends headers and no body', answering(`${ok}content-length: 10\r\n\r\n`)],
    ['sends its body a byte at a time', trickling(`${ok}content-length: 9999\r\n\r\n`, 'a')],
    ['sends a body without a length a byte at a time', trickling(`${ok}\r\n`, 'a')],
    [
      'sends a chunk a byte at a time',
      trickling(`${ok}transfer-encoding: chunked\r\n\r\nffff\r\n`, 'a'),
    ],
    ['sends interim answers for ever', trickling('', 'HTTP/1.1 103 Early Hints\r\n\r\n')],
  ])('%s', async ([, misbehave]) => {
    const endpoint = await startEndpoint(misbehave);
    const body = Buffer.alloc(8 * 1024 * 1024, ' ');
    const attempt = { url: endpoint.url, timeoutMs: short, body };
    const outcome = await post(startTransport(), attempt);
    expect(outcome.ms).toBeGreaterThan(short - 50);
    expect(outcome.ms).toBeLessThan(short + late);
    await expectOneAnswer(outcome, endpoint, error(/^no complete answer within 300 ms$/));
  });

  test('stalls the TLS handshake, in which the name stands', async () => {
    let hello = '';
    const endpoint = await startEndpoint((socket) => {
      socket.on('data', (data) => (hello += data.toString('latin1')));
    });
    const lookup = () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]);
    const url = `https://hooks.example:${endpoint.port}/`;
    const outcome = await post(startTransport({ lookup }), { url, timeoutMs: short });
    expect(outcome.ms).toBeLessThan(short + late);
    expect(hello).toContain('hooks.example');
    await expectOneAnswer(outcome, endpoint, error(/^no complete answer/));
  });

  test('has a name that resolves too late, and is not connected to then', async () => {
    const endpoint = await startEndpoint(answering(okEmpty));
    let resolve = (_addresses: LookupAddress[]) => {};
    const lookup = () => new Promise<LookupAddress[]>((resolver) => (resolve = resolver));
    const transport = startTransport({ lookup });
    const url = `http://hooks.example:${endpoint.port}/`;
    const outcome = await post(transport, { url, timeoutMs: short });
    resolve([{ address: '127.0.0.1', family: 4 }]);
    expect(await post(transport, { url: endpoint.url })).toMatchObject({
      answers: [{ status: 200 }],
    });
    expect(outcome.answers).toEqual([error(/^no complete answer/)]);
    expect(endpoint.connections).toBe(1);
  });
});

describe('at once, and with its socket, ends an attempt whose endpoint', () => {
  const chunked = `${ok}transfer-encoding: chunked\r\n\r\n`;
  test.for<[string, unknown, (socket: Socket) => void]>([
    ['sends a body without end', { status: 200 }, flooding(`${ok}\r\n`, 'a')],
    ['sends chunks without end', { status: 200 }, flooding(chunked, '4\r\naaaa\r\n')],
    ['sends one chunk without end', { status: 200 }, flooding(`${chunked}ffffffffff\r\n`, 'a')],
    ['sends an extension of a chunk without end', { status: 200 }, flooding(`${chunked}1;`, 'a')],
    [
      'sends 10 GB',
      { status: 500 },
      flooding('HTTP/1.1 500 No\r\ncontent-length: 10000000000\r\n\r\n', 'a'),
    ],
    [
      'sends trailers without end',
      error(/Headers Overflow/),
      flooding(`${chunked}0\r\n`, 'a: b\r\n'),
    ],
    ['sends headers without end', error(/Headers Overflow/), flooding(ok, 'a: b\r\n')],
    ['sends a header without end', error(/Headers Overflow/), flooding(`${ok}a: `, 'b')],
    ['sends the name of a header without end', error(/Headers Overflow/), flooding(ok, 'b')],
    [
      'sends 10,000 headers',
      error(/Headers Overflow/),
      answering(`${ok}${'a: b\r\n'.repeat(10_000)}content-length: 0\r\n\r\n`),
    ],
    ['sends a status line without end', error(/too long/), flooding('HTTP/1.1 200 ', 'O')],
    [
      'sends interim answers without end',
      error(/too long/),
      flooding('', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'),
    ],
    ['says go on to what nobody asked', error(/./), answering('HTTP/1.1 100 Continue\r\n\r\n')],
    [
      'changes the protocol',
      error(/./),
      answering('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n'),
    ],
    ['does not speak HTTP', error(/./), (socket) => void socket.write('SSH-2.0-OpenSSH_9.9\r\n')],
    ['sends nothing but zeros', error(/./), flooding('', '\0')],
    ['hangs up', error(/./), (socket) => onRequest(socket, () => socket.end())],
    ['resets before it answers', error(/./), (socket) => void socket.resetAndDestroy()],
    [
      'resets in the middle of the body',
      error(/./),
      (socket) =>
        onRequest(socket, () => {
          socket.write(`${ok}content-length: 10\r\n\r\nabc`, () => socket.resetAndDestroy());
        }),
    ],
    [
      'hangs up in the middle of the body',
      error(/./),
      (socket) => onRequest(socket, () => socket.end(`${ok}content-length: 10\r\n\r\nabc`)),
    ],
    [
      'sends more than it said',
      { status: 200 },
      answering(`${ok}content-length: 2\r\n\r\nok, and then some`),
    ],
  ])('%s', async ([, answer, misbehave]) => {
    const endpoint = await startEndpoint(misbehave);
    const outcome = await post(startTransport(), { url: endpoint.url });
    expect(outcome.ms).toBeLessThan(soon);
    await expectOneAnswer(outcome, endpoint, answer);
  });

  test('is not there', async () => {
    const server = net.createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    await once(server.close(), 'close');
    const { answers } = await post(startTransport(), { url: `http://127.0.0.1:${port}/` });
    expect(answers).toEqual([error(/ECONNREFUSED/)]);
  });
});

test('hardly more than 64 KiB of a body are read, and none are kept', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const memory = () => {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const endpoint = await startEndpoint(flooding(`${ok}\r\n`, 'a'));
  const transport = startTransport();
  const round = () =>
    Promise.all(Array.from({ length: 20 }, () => post(transport, { url: endpoint.url })));
  await round();
  const before = memory();
  for (let i = 0; i < 10; i++) await round();
  await allClosed(endpoint);
  await eventually(() => memory() - before < 4 * 1024 * 1024);
  expect(endpoint.connections).toBe(220);
  // What has left the endpoint and was not read stood in buffers of the kernel.
  expect(endpoint.mostWritten).toBeLessThan(32 * 1024 * 1024);
});

test('an endpoint that floods or hangs does not hold up another', async () => {
  const flood = await startEndpoint(flooding('', 'HTTP/1.1 103 Early Hints\r\n\r\n'));
  const mute = await startEndpoint((socket) => void socket.resume());
  const good = await startEndpoint(answering(okEmpty));
  const transport = startTransport();
  const thirty = (attempt: () => Promise<unknown>) => Array.from({ length: 30 }, attempt);
  const flooded = thirty(() => post(transport, { url: flood.url }));
  let isMuteOver = false;
  void Promise.race(thirty(() => post(transport, { url: mute.url, timeoutMs: 60_000 }))).then(
    () => (isMuteOver = true),
  );
  for (let i = 0; i < 20; i++) {
    const { answers } = await post(transport, { url: good.url });
    expect(answers).toEqual([{ status: 200 }]);
  }
  expect(isMuteOver).toBe(false);
  await Promise.all(flooded);
});
