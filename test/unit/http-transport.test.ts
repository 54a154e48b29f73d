import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  allClosed,
  answering,
  error,
  expectOneAnswer,
  ok,
  okEmpty,
  onRequest,
  post,
  startEndpoint,
  startTransport,
} from '../helpers/endpoint.js';
import { eventually } from '../helpers/poll.js';

test('nothing is decompressed', async () => {
  const heads: string[] = [];
  const endpoint = await startEndpoint((socket) =>
    onRequest(socket, (head) => {
      heads.push(head);
      socket.write(`${ok}content-encoding: gzip\r\ncontent-length: 8\r\n\r\nnot gzip`);
    }),
  );
  const { answers } = await post(startTransport(), { url: endpoint.url });
  expect(answers).toEqual([{ status: 200 }]);
  expect(heads[0]).not.toMatch(/accept-encoding/i);
});

test('a redirect is an answer, and not followed', async () => {
  const canary = await startEndpoint(answering(okEmpty));
  const transport = startTransport();
  for (const status of [301, 302, 303, 307, 308]) {
    const head = `HTTP/1.1 ${status} Elsewhere\r\nlocation: ${canary.url}\r\n`;
    const endpoint = await startEndpoint(answering(`${head}content-length: 0\r\n\r\n`));
    const { answers } = await post(transport, { url: endpoint.url });
    expect(answers).toEqual([{ status }]);
  }
  expect(canary.connections).toBe(0);
});

test('proxies of the environment are not used', async () => {
  const proxy = await startEndpoint(answering(okEmpty));
  const endpoint = await startEndpoint(answering(okEmpty));
  for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY']) {
    vi.stubEnv(name, proxy.url);
  }
  vi.stubEnv('NO_PROXY', '');
  vi.stubEnv('NODE_USE_ENV_PROXY', '1');
  onTestFinished(() => void vi.unstubAllEnvs());
  const { answers } = await post(startTransport(), { url: endpoint.url });
  expect(answers).toEqual([{ status: 200 }]);
  expect(proxy.connections).toBe(0);
});

test.for([
  ['retry-after: 120\r\n', { status: 429, retryAfter: '120' }],
  [
    'Retry-After: Thu, 31 Jan 2030 12:00:30 GMT\r\n',
    { status: 429, retryAfter: 'Thu, 31 Jan 2030 12:00:30 GMT' },
  ],
  ['retry-after: 1\r\nretry-after: 2\r\n', { status: 429, retryAfter: '1' }],
  ['', { status: 429 }],
] as const)('the answer has its status and when to come back: %o', async ([header, answer]) => {
  const head = `HTTP/1.1 429 Slow Down\r\n${header}`;
  const endpoint = await startEndpoint(answering(`${head}content-length: 0\r\n\r\n`));
  const { answers } = await post(startTransport(), { url: endpoint.url });
  expect(answers).toEqual([answer]);
});

test('interim answers come before the one that counts', async () => {
  const hints = 'HTTP/1.1 103 Early Hints\r\nretry-after: 9\r\n\r\n'.repeat(3);
  const endpoint = await startEndpoint(answering(`${hints}${okEmpty}`));
  const { answers } = await post(startTransport(), { url: endpoint.url });
  expect(answers).toEqual([{ status: 200 }]);
});

test.for([
  [{ 'x-bad': 'a\r\nb: c' }],
  [{ 'bad name': 'a' }],
  [{ 'content-length': '1' }],
  [{ 'transfer-encoding': 'chunked' }],
])('headers that would garble the request are an error: %o', async ([headers]) => {
  let received = '';
  const endpoint = await startEndpoint((socket) => {
    socket.on('data', (data) => (received += data.toString('latin1')));
  });
  const outcome = await post(startTransport(), { url: endpoint.url, headers: headers! });
  await expectOneAnswer(outcome, endpoint, error(/./));
  expect(received).toBe('');
});

describe('connections', () => {
  test('serve one request after the other', async () => {
    const endpoint = await startEndpoint(answering(`${ok}content-length: 2\r\n\r\nok`));
    const transport = startTransport();
    for (let i = 0; i < 50; i++) await post(transport, { url: endpoint.url });
    expect(endpoint.connections).toBe(1);
  });

  test('are never more than requests in flight, however often an endpoint hangs', async () => {
    const endpoint = await startEndpoint((socket) => void socket.resume());
    const transport = startTransport();
    for (let round = 1; round <= 5; round++) {
      const attempt = { url: endpoint.url, timeoutMs: 300 };
      const outcomes = Promise.all(Array.from({ length: 20 }, () => post(transport, attempt)));
      await eventually(() => endpoint.connections === 20 * round);
      await eventually(() => endpoint.open.size <= 20);
      await outcomes;
    }
    await allClosed(endpoint);
  });

  test('are made anew after an endpoint has closed them', async () => {
    const endpoint = await startEndpoint((socket) => onRequest(socket, () => socket.end(okEmpty)));
    const transport = startTransport();
    for (let i = 1; i <= 10; i++) {
      const { answers } = await post(transport, { url: endpoint.url });
      expect(answers).toEqual([{ status: 200 }]);
    }
    expect(endpoint.connections).toBe(10);
  });

  test('that are closed while they are used again do not cost an attempt', async () => {
    const endpoint = await startEndpoint((socket) => {
      let requests = 0;
      onRequest(socket, () => {
        if (++requests === 1) socket.write(okEmpty);
        else socket.resetAndDestroy();
      });
    });
    const transport = startTransport();
    for (let i = 1; i <= 5; i++) {
      const { answers } = await post(transport, { url: endpoint.url });
      expect(answers).toEqual([{ status: 200 }]);
      expect(endpoint.connections).toBe(i);
    }
  });

  test('are tried twice at most', async () => {
    let requests = 0;
    const endpoint = await startEndpoint((socket) =>
      onRequest(socket, () => {
        if (++requests === 1) socket.write(okEmpty);
        else socket.resetAndDestroy();
      }),
    );
    const transport = startTransport();
    await post(transport, { url: endpoint.url });
    const outcome = await post(transport, { url: endpoint.url });
    await expectOneAnswer(outcome, endpoint, error(/./));
    expect(requests).toBe(3);
  });

  test('that are closed in the middle of an answer do cost an attempt', async () => {
    let requests = 0;
    const endpoint = await startEndpoint((socket) =>
      onRequest(socket, () => {
        if (++requests === 1) socket.write(okEmpty);
        else socket.end(`${ok}content-length: 10\r\n\r\nabc`);
      }),
    );
    const transport = startTransport();
    await post(transport, { url: endpoint.url });
    const outcome = await post(transport, { url: endpoint.url });
    await expectOneAnswer(outcome, endpoint, error(/./));
    expect(requests).toBe(2);
  });

  test('are not used again where an answer came that nobody waits for', async () => {
    const stray = 'HTTP/1.1 500 Stray\r\ncontent-length: 0\r\n\r\n';
    const endpoint = await startEndpoint(answering(`${okEmpty}${stray}`));
    const transport = startTransport();
    for (let i = 1; i <= 5; i++) {
      const { answers } = await post(transport, { url: endpoint.url });
      expect(answers).toEqual([{ status: 200 }]);
    }
    expect(endpoint.connections).toBe(5);
  });

  test('are not used again where the request has not been read', async () => {
    const endpoint = await startEndpoint((socket) => {
      socket.once('readable', () => socket.write(okEmpty));
    });
    const transport = startTransport();
    const body = Buffer.alloc(16 * 1024 * 1024, ' ');
    for (let i = 1; i <= 3; i++) {
      const { answers } = await post(transport, { url: endpoint.url, body });
      expect(answers).toEqual([{ status: 200 }]);
      expect(endpoint.connections).toBe(i);
    }
    await allClosed(endpoint);
  });

  test.for(['', 'keep-alive: timeout=86400\r\n', 'keep-alive: timeout=30\r\n'])(
    'that nothing is sent over are closed after ten seconds, whatever was proposed: %o',
    async (proposal) => {
      const endpoint = await startEndpoint(answering(`${ok}${proposal}content-length: 0\r\n\r\n`));
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      onTestFinished(() => void vi.useRealTimers());
      await post(startTransport(), { url: endpoint.url });
      const [socket] = endpoint.open;
      const closed = once(socket!, 'close');
      // The time starts to run once the connection is idle, a moment after the answer; the other timer
      // is that of the request.
      while (!socket!.destroyed && vi.getTimerCount() < 2) await new Promise(setImmediate);
      vi.advanceTimersByTime(9_999);
      await new Promise(setImmediate);
      expect(socket!.destroyed).toBe(false);
      vi.advanceTimersByTime(1);
      await closed;
    },
  );

  test('all end with the transport, and what is under way is answered', async () => {
    let requests = 0;
    const endpoint = await startEndpoint((socket) =>
      onRequest(socket, () => {
        if (++requests <= 5) socket.write(okEmpty);
      }),
    );
    const transport = startTransport();
    const round = (count: number) =>
      Array.from({ length: count }, () => post(transport, { url: endpoint.url }));
    await Promise.all(round(5));
    const outcomes = round(10);
    await eventually(() => requests === 15);
    await transport.close();
    for (const outcome of outcomes) {
      await expectOneAnswer(await outcome, endpoint, error(/destroyed/));
    }
    const [late] = round(1);
    expect((await late!).answers).toEqual([error(/closed/)]);
    expect(requests).toBe(15);
  });
});
