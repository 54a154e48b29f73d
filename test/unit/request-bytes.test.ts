import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { selfSigned } from '../helpers/certificate.js';
import { error, post, startTransport } from '../helpers/endpoint.js';

const schemes = ['http', 'https'] as const;

/** Answers with 200, and keeps of each request where it came from and what it was. */
async function startKeeper(scheme: (typeof schemes)[number]) {
  const kept: { from: number | undefined; mark: unknown; digest: string }[] = [];
  const keep: http.RequestListener = async (request, response) => {
    const body = await buffer(request);
    const { remotePort: from } = request.socket;
    kept.push({ from, mark: request.headers['x-mark'], digest: digestOf(body) });
    response.end();
  };
  const server =
    scheme === 'http' ? http.createServer(keep) : https.createServer(selfSigned('localhost'), keep);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { kept, url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

const digestOf = (body: Buffer) => createHash('sha256').update(body).digest('hex');

function trustAnybody(): void {
  vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
  onTestFinished(() => void vi.unstubAllEnvs());
}

describe.for(schemes)('%s', (scheme) => {
  test('requests of every size arrive whole over one connection', async () => {
    trustAnybody();
    const keeper = await startKeeper(scheme);
    const transport = startTransport();
    const sizes = [1, 700, 20_000, 15_900, 16_200, 16_384, 3, 2_000_000, 500, 16_000, 1];
    const bodies = sizes.map((size, n) => Buffer.alloc(size, `${n} und so weiter, ü `));
    for (const [n, body] of bodies.entries()) {
      const headers = { 'x-mark': 'x'.repeat(n * 50) };
      const { answers } = await post(transport, { url: keeper.url, body, headers });
      expect(answers).toEqual([{ status: 200 }]);
    }
    expect(keeper.kept).toEqual(
      bodies.map((body, n) => ({
        from: keeper.kept[0]!.from,
        mark: 'x'.repeat(n * 50),
        digest: digestOf(body),
      })),
    );
  });

  test('requests under way at once do not mix', async () => {
    trustAnybody();
    const keeper = await startKeeper(scheme);
    const transport = startTransport();
    const bodies = Array.from({ length: 300 }, (_, n) => Buffer.alloc(1 + n * 60, `${n} `));
    await Promise.all(bodies.map((body) => post(transport, { url: keeper.url, body })));
    const digests = keeper.kept.map(({ digest }) => digest);
    expect(digests.sort()).toEqual(bodies.map(digestOf).sort());
  });
});

test('a certificate that nobody vouches for is an error', async () => {
  const keeper = await startKeeper('https');
  const { answers } = await post(startTransport(), { url: keeper.url });
  expect(answers).toEqual([error(/self-signed certificate/)]);
  expect(keeper.kept).toEqual([]);
});
