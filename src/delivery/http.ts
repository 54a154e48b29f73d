/** Sends one webhook: a POST whose answer is read to its end, or to a bound. */
import type { Dispatcher } from 'undici';
import { guardedConnector, systemLookup, type Lookup } from './address-guard.js';
import type { AddressPolicy } from './address-policy.js';
import { Connections, type Connection } from './connections.js';

export interface WebhookRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** From connecting to the last byte of the answer, in milliseconds. */
  readonly timeoutMs: number;
}

/** The HTTP status of the answer, and its `retry-after` as it came; or why there was none. */
export type Answer =
  { readonly status: number; readonly retryAfter?: string } | { readonly error: Error };

/** What a URL scheme stands for. `answered` is called exactly once, never before `send` returns. */
export interface Transport {
  send(request: WebhookRequest, answered: (answer: Answer) => void): void;
  close(): Promise<void>;
}

export interface HttpTransportOptions extends AddressPolicy {
  /** The resolver of the system when absent. */
  readonly lookup?: Lookup;
}

/** An answer longer than this, headers and all, is cut off; its status counts all the same. */
const mostAnswerBytes = 64 * 1024;

/**
 * The transport of `http:` and `https:`. Follows no redirect, decompresses nothing, knows no proxy,
 * and connects to no address that the policy forbids.
 */
export function createHttpTransport({
  lookup = systemLookup,
  ...policy
}: HttpTransportOptions): Transport {
  const connections = new Connections(guardedConnector(policy, lookup));
  return {
    send: (request, answered) => send(connections, request, answered),
    close: () => connections.close(),
  };
}

function send(
  connections: Connections,
  request: WebhookRequest,
  answered: (answer: Answer) => void,
): void {
  let url: URL;
  let connection: Connection;
  try {
    url = new URL(request.url);
    connection = connections.take(url.origin);
  } catch (error) {
    queueMicrotask(() => answered({ error: error as Error }));
    return;
  }

  let answer: Answer | undefined;
  let sending = true;
  let settled = false;
  const settle = (final: Answer, reusable: boolean) => {
    if (settled) return;
    settled = true;
    clearTimeout(deadline);
    if (reusable) connections.giveBack(connection);
    else void connections.discard(connection);
    if (sending) queueMicrotask(() => answered(final));
    else answered(final);
  };
  const deadline = setTimeout(() => {
    settle({ error: new Error(`no complete answer within ${request.timeoutMs} ms`) }, false);
  }, request.timeoutMs);

  const options = {
    path: url.pathname + url.search,
    method: 'POST' as const,
    headers: request.headers,
    body: request.body,
  };
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart() {
      const socket = connection.socket!;
      const most = socket.bytesRead + mostAnswerBytes;
      connection.onRead = () => {
        if (socket.bytesRead <= most) return;
        settle(answer ?? { error: new Error('the answer is too long') }, false);
      };
    },
    onResponseStart(_controller, status, headers) {
      if (status < 200) return;
      const [retryAfter] = [headers['retry-after']].flat();
      answer = { status, ...(retryAfter !== undefined && { retryAfter }) };
    },
    onResponseEnd() {
      // An endpoint that answers without reading what it was sent would let it pile up.
      settle(answer!, connection.socket!.writableLength === 0);
    },
    onResponseError(_controller, error) {
      // Endpoints may close a connection just when it is used again; a new one shows what is true.
      if (settled || answer || !connection.wasUsed || connections.isClosed) {
        settle({ error }, false);
        return;
      }
      void connections.discard(connection);
      connection = connections.create(url.origin);
      connection.client.dispatch(options, handler);
    },
  };
  connection.client.dispatch(options, handler);
  sending = false;
}
