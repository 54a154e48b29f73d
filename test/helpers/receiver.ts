import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from './poll.js';

/** One request as it arrived; `status` is what it was answered, undefined if it was not (yet). */
interface ReceivedRequest {
  path: string;
  method: string;
  headers: http.IncomingHttpHeaders;
  body: string;
  /** When its last byte was here, in milliseconds since the epoch. */
  at: number;
  status: number | undefined;
}

interface Reply {
  /** 200 when absent. */
  status?: number;
  headers?: http.OutgoingHttpHeaders;
  body?: string;
  /** Milliseconds to wait before anything else happens. */
  delay?: number;
  /** `hang` never answers, `reset` breaks the connection off. */
  fault?: 'hang' | 'reset';
}

type Handler = (request: ReceivedRequest) => Reply | Promise<Reply>;

interface Wait {
  /** Milliseconds. */
  timeout?: number;
}

export interface Receiver {
  url: string;
  /** Every request so far, in the order in which they were complete. */
  requests: ReceivedRequest[];
  /** Changes how requests are answered from now on. */
  reply(how: Reply | Handler): void;
  /** Resolves once there have been so many requests, with all of them. */
  waitFor(count: number, wait?: Wait): Promise<ReceivedRequest[]>;
  /** Resolves once the requests satisfy the predicate, with all of them. */
  waitUntil(
    predicate: (requests: ReceivedRequest[]) => boolean,
    wait?: Wait,
  ): Promise<ReceivedRequest[]>;
  /** Stops listening and breaks every connection off. */
  close(): Promise<void>;
}

/** Starts a webhook endpoint that answers 200 until told otherwise; `port` to come back on it. */
export async function startReceiver({ port = 0 } = {}): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  let handler: Handler = () => ({});

  const server = http.createServer((request, response) => {
    // A client that leaves in the middle is nobody's error here.
    answer(request, response).catch(() => response.destroy());
  });

  async function answer(
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): Promise<void> {
    const received: ReceivedRequest = {
      path: request.url ?? '',
      method: request.method ?? '',
      headers: request.headers,
      body: await text(request),
      at: Date.now(),
      status: undefined,
    };
    requests.push(received);
    const reply = await handler(received);
    if (reply.delay) await delay(reply.delay);
    if (reply.fault === 'hang') return;
    if (reply.fault === 'reset') {
      request.socket.resetAndDestroy();
      return;
    }
    received.status = reply.status ?? 200;
    response.writeHead(received.status, reply.headers).end(reply.body);
  }

  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;

  async function waitUntil(
    predicate: (requests: ReceivedRequest[]) => boolean,
    wait: Wait = {},
  ): Promise<ReceivedRequest[]> {
    await eventually(() => {
      if (!predicate(requests)) throw new Error(`${requests.length} requests so far`);
    }, wait);
    return requests;
  }

  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    reply(how) {
      handler = typeof how === 'function' ? how : () => how;
    },
    waitFor: (count, wait) => waitUntil((all) => all.length >= count, wait),
    waitUntil,
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
