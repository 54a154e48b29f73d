import net from 'node:net';
import { describe, expect, test } from 'vitest';
import type { Lookup } from '../../src/delivery/address-guard.js';
import type { Answer, HttpTransportOptions } from '../../src/delivery/http.js';
import { parseNetworks } from '../../src/settings/networks.js';
import { okEmpty, onRequest, post, startEndpoint, startTransport } from '../helpers/endpoint.js';

const strict = { denyPrivateNetworks: true };

/** A listener that tells who came, answers everybody, and lets nobody stay. */
async function startCanary() {
  const heads: string[] = [];
  const endpoint = await startEndpoint((socket) =>
    onRequest(socket, (head) => {
      heads.push(head);
      socket.end(okEmpty.replace('\r\n', '\r\nconnection: close\r\n'));
    }),
  );
  return Object.assign(endpoint, { heads });
}

/** What each URL in turn is answered. */
async function postTo(urls: string[], options?: Partial<HttpTransportOptions>): Promise<Answer[]> {
  const transport = startTransport(options);
  const all: Answer[] = [];
  for (const url of urls) all.push(...(await post(transport, { url })).answers);
  return all;
}

const forbidden = (host: string) => ({
  error: expect.objectContaining({
    code: 'forbidden_address',
    message: `the address of ${host} is forbidden by policy`,
  }),
});

describe('a URL', () => {
  test.for([
    ['127.0.0.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['0x7f.1', '127.0.0.1'],
    ['0x7f000001', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['127.0.0.1.', '127.0.0.1'],
    ['①②⑦.0.0.1', '127.0.0.1'],
    ['127。0。0。1', '127.0.0.1'],
    ['someone@127.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['0', '0.0.0.0'],
    ['[::]', '::'],
    ['[::1]', '::1'],
    ['[::ffff:127.0.0.1]', '::ffff:7f00:1'],
    ['[64:ff9b::7f00:1]', '64:ff9b::7f00:1'],
    ['[fd00:ec2::254]', 'fd00:ec2::254'],
    ['169.254.169.254', '169.254.169.254'],
    ['localhost', 'localhost'],
    ['LOCALHOST', 'localhost'],
  ] as const)('of %s does not reach this machine', async ([written, host]) => {
    const canary = await startCanary();
    const urls = ['http', 'https'].map((scheme) => `${scheme}://${written}:${canary.port}/`);
    expect(await postTo(urls, strict)).toEqual([forbidden(host), forbidden(host)]);
    expect(canary.connections).toBe(0);
  });

  test('of localhost with a dot at its end does not either', async () => {
    // Not every resolver knows it.
    const canary = await startCanary();
    const answers = await postTo([`http://localhost.:${canary.port}/`], strict);
    expect(answers).toEqual([{ error: expect.any(Error) }]);
    expect(canary.connections).toBe(0);
  });

  test.for([
    'file:///etc/passwd',
    'gopher://127.0.0.1/',
    'unix:/run/x.sock',
    'ws://127.0.0.1/',
    '/',
  ])('that is not of HTTP is an error: %s', async (url) =>
    expect(await postTo([url])).toEqual([{ error: expect.any(Error) }]),
  );

  test('of a forbidden address is refused alike, whether something listens there or not', async () => {
    const canary = await startCanary();
    const ports = [canary.port, 1, 22, 5432];
    const answers = await postTo(
      ports.map((port) => `http://127.0.0.1:${port}/`),
      strict,
    );
    const [first, ...others] = answers.map((answer) => 'error' in answer && answer.error.message);
    expect(new Set(others)).toEqual(new Set([first]));
    expect(first).not.toContain(String(canary.port));
  });

  test('of this machine is fine where private networks are', async () => {
    const canary = await startCanary();
    expect(await postTo([canary.url])).toEqual([{ status: 200 }]);
  });
});

describe('a name', () => {
  const answering = (...answers: string[][]) => {
    const asked: string[] = [];
    const lookup: Lookup = async (host) => {
      asked.push(host);
      const addresses = answers[Math.min(asked.length, answers.length) - 1]!;
      return addresses.map((address) => ({ address, family: net.isIP(address) }));
    };
    return { asked, lookup };
  };

  test('is looked up once a connection, and the endpoint still sees it', async () => {
    const canary = await startCanary();
    const { asked, lookup } = answering(['127.0.0.1']);
    const url = `http://hooks.example:${canary.port}/`;
    expect(await postTo([url], { lookup })).toEqual([{ status: 200 }]);
    expect(asked).toEqual(['hooks.example']);
    expect(canary.heads[0]).toContain(`host: hooks.example:${canary.port}\r\n`);
  });

  test('that is harmless at first and then leads here is refused from then on', async () => {
    // 127.0.0.1 stands for the public address; 0.0.0.0 leads to the same listener.
    const canary = await startCanary();
    const { asked, lookup } = answering(['127.0.0.1'], ['0.0.0.0'], ['::ffff:0.0.0.0']);
    const url = `http://rebound.example:${canary.port}/`;
    const options = { ...strict, allowedNetworks: parseNetworks('127.0.0.1'), lookup };
    expect(await postTo([url, url, url], options)).toEqual([
      { status: 200 },
      forbidden('rebound.example'),
      forbidden('rebound.example'),
    ]);
    expect(asked).toHaveLength(3);
    expect(canary.connections).toBe(1);
  });

  test('of several addresses is connected to through an allowed one', async () => {
    const canary = await startCanary();
    const { lookup } = answering(['169.254.169.254', '127.0.0.1', 'fe80::1']);
    const url = `http://mixed.example:${canary.port}/`;
    expect(await postTo([url], { lookup })).toEqual([{ status: 200 }]);
  });

  test('of no address at all is refused', async () => {
    const { lookup } = answering([]);
    expect(await postTo(['http://empty.example/'], { lookup })).toEqual([
      forbidden('empty.example'),
    ]);
  });

  test('that does not resolve is an error that says so', async () => {
    const lookup: Lookup = () => Promise.reject(new Error('getaddrinfo ENOTFOUND'));
    expect(await postTo(['http://nowhere.example/'], { lookup })).toEqual([
      { error: expect.objectContaining({ message: 'getaddrinfo ENOTFOUND' }) },
    ]);
  });

  test('is looked up once for all who ask for it at the same time', async () => {
    const canary = await startCanary();
    const { asked, lookup } = answering(['127.0.0.1']);
    const transport = startTransport({ lookup });
    const url = `http://busy.example:${canary.port}/`;
    const posts = Array.from({ length: 20 }, () => post(transport, { url }));
    for (const { answers } of await Promise.all(posts)) expect(answers).toEqual([{ status: 200 }]);
    expect(asked).toEqual(['busy.example']);
    expect(canary.connections).toBe(20);
  });
});
