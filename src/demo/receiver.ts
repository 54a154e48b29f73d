import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface DemoReceiver {
  readonly url: string;
  close(): Promise<void>;
}

/** A webhook endpoint on this machine that accepts everything and hands each body on. */
export async function startReceiver(received: (body: string) => void): Promise<DemoReceiver> {
  const server = http.createServer((request, response) => {
    text(request)
      .then((body) => {
        response.end();
        received(body);
      })
      .catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/webhook`,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
