import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { expect, onTestFinished } from 'vitest';
import {
  createHttpTransport,
  type Answer,
  type HttpTransportOptions,
  type Transport,
} from '../../src/delivery/http.js';
import { eventually } from './poll.js';

/** A server on loopback that speaks to sockets, and can say what no HTTP server would. */
export interface Endpoint {
  url: string;
  port: number;
  /** How many connections there ever were. */
  connections: number;
  /** Those that are open. */
  open: Set<Socket>;
  /** The most bytes that were written to one connection. */
  mostWritten: number;
}

/** Starts an endpoint that does this on every connection, until the end of the test. */
export async function startEndpoint(behave: (socket: Socket) => void): Promise<Endpoint> {
  const endpoint: Endpoint = {
    url: '',
    port: 0,
    connections: 0,
    open: new Set(),
    mostWritten: 0,
  };
  const server = net.createServer((socket) => {
    endpoint.connections++;
    endpoint.open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      endpoint.open.delete(socket);
      endpoint.mostWritten = Math.max(endpoint.mostWritten, socket.bytesWritten);
    });
    behave(socket);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    for (const socket of endpoint.open) socket.destroy();
    server.close();
  });
  endpoint.port = (server.address() as AddressInfo).port;
  endpoint.url = `http://127.0.0.1:${endpoint.port}/hook`;
  return endpoint;
}

/** Does something whenever a whole request has arrived: its head, and as much body as it says. */
export function onRequest(socket: Socket, react: (head: string) => void): void {
  let received = Buffer.alloc(0);
  socket.on('data', (data) => {
    received = Buffer.concat([received, data]);
    for (;;) {
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = received.toString('latin1', 0, end + 4);
      const length = end + 4 + Number(/content-length: (\d+)/.exec(head)?.[1] ?? 0);
      if (received.length < length) return;
      received = received.subarray(length);
      react(head);
    }
  });
}

/** Gives every request the same answer. */
export const answering =
  (answer: string) =>
  (socket: Socket): void =>
    onRequest(socket, () => socket.write(answer));

/** Writes a head, and then the same again and again, as fast as it is read. */
export function flooding(head: string, more: string): (socket: Socket) => void {
  const chunk = Buffer.from(more.repeat(Math.ceil(65_536 / more.length)));
  return (socket) => {
    const flood = () => {
      while (!socket.destroyed && socket.write(chunk));
    };
    onRequest(socket, () => {
      socket.write(head);
      socket.on('drain', flood);
      flood();
    });
  };
}

/** Writes a head, and then one character at a time, for ever. */
export const trickling =
  (head: string, character: string) =>
  (socket: Socket): void => {
    socket.setNoDelay(true);
    onRequest(socket, () => {
      socket.write(head);
      const timer = setInterval(() => socket.write(character), 20);
      socket.on('close', () => clearInterval(timer));
    });
  };

export const ok = 'HTTP/1.1 200 OK\r\n';
export const okEmpty = `${ok}content-length: 0\r\n\r\n`;

/** A transport that may go to private networks unless told otherwise, until the end of the test. */
export function startTransport(options: Partial<HttpTransportOptions> = {}): Transport {
  const transport = createHttpTransport({
    denyPrivateNetworks: false,
    allowedNetworks: [],
    ...options,
  });
  onTestFinished(() => transport.close());
  return transport;
}

interface Attempt {
  url: string;
  /** 10 s when absent. */
  timeoutMs?: number;
  headers?: Record<string, string>;
  body?: Buffer;
}

interface Outcome {
  /** All answers so far; there is to be one. */
  answers: Answer[];
  ms: number;
}

/** Sends one webhook and waits for its first answer. */
export function post(
  transport: Transport,
  { url, timeoutMs = 10_000, headers = {}, body = Buffer.from('{}') }: Attempt,
): Promise<Outcome> {
  const answers: Answer[] = [];
  const startedAt = performance.now();
  return new Promise((resolve) => {
    transport.send({ url, headers: Object.entries(headers).flat(), body, timeoutMs }, (answer) => {
      answers.push(answer);
      resolve({ answers, ms: performance.now() - startedAt });
    });
    expect(answers).toEqual([]);
  });
}

/** Waits until we have closed all connections to the endpoint. */
export async function allClosed(endpoint: Endpoint): Promise<void> {
  // Who does not read does not notice.
  for (const socket of endpoint.open) socket.resume();
  await eventually(() => endpoint.open.size === 0);
}

/** Expects one answer, and no other: once all sockets are gone nothing can be answered any more. */
export async function expectOneAnswer(
  outcome: Outcome,
  endpoint: Endpoint,
  answer: unknown,
): Promise<void> {
  await allClosed(endpoint);
  expect(outcome.answers).toEqual([answer]);
}

export const error = (message: RegExp): unknown => ({
  error: expect.objectContaining({ message: expect.stringMatching(message) }),
});
