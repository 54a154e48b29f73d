/** Sends one webhook: a POST whose answer is read to its end, or to a bound. */
import type { Dispatcher } from 'undici';
import { guardedConnector, systemLookup, type Lookup } from './address-guard.js';
import type { AddressPolicy } from './address-policy.js';
import { Connections, type Connection } from './connections.js';

export interface WebhookRequest {
  readonly url: string;
  /** Names and values in turn. */
  readonly headers: string[];
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
  const targets = new Targets();
  return {
    send(request, answered) {
      try {
        new Exchange(connections, targets.of(request.url), request, answered).begin();
      } catch (error) {
        queueMicrotask(() => answered({ error: error as Error }));
      }
    },
    close: () => connections.close(),
  };
}

interface Target {
  readonly origin: string;
  readonly path: string;
}

const mostTargets = 20_000;

/** URLs that have been taken apart before. */
class Targets {
  readonly #known = new Map<string, Target>();

  /** @throws where the URL is none. */
  of(url: string): Target {
    let target = this.#known.get(url);
    if (!target) {
      const { origin, pathname, search } = new URL(url);
      target = { origin, path: pathname + search };
      if (this.#known.size >= mostTargets) this.#known.clear();
      this.#known.set(url, target);
    }
    return target;
  }
}

/** One request and its answer. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #connections: Connections;
  readonly #target: Target;
  readonly #request: WebhookRequest;
  readonly #answered: (answer: Answer) => void;
  #deadlineAt = 0;
  #mostRead = 0;
  #connection: Connection;
  #answer: Answer | undefined;
  #isSending = true;
  #isSettled = false;

  /** @throws where no connection can be made to the target. */
  constructor(
    connections: Connections,
    target: Target,
    request: WebhookRequest,
    answered: (answer: Answer) => void,
  ) {
    this.#connections = connections;
    this.#target = target;
    this.#request = request;
    this.#answered = answered;
    this.#connection = connections.take(target.origin);
  }

  begin(): void {
    this.#deadlineAt = performance.now() + this.#request.timeoutMs;
    this.#dispatch();
    this.#isSending = false;
  }

  onRequestStart(): void {
    const connection = this.#connection;
    this.#mostRead = connection.socket!.bytesRead + mostAnswerBytes;
    connection.reader = this;
  }

  onRead(): void {
    if (this.#connection.socket!.bytesRead <= this.#mostRead) return;
    this.#settle(this.#answer ?? { error: new Error('the answer is too long') }, false);
  }

  onResponseStart(
    _controller: unknown,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    const given = headers['retry-after'];
    const retryAfter = typeof given === 'object' ? given[0] : given;
    this.#answer = retryAfter === undefined ? { status } : { status, retryAfter };
  }

  onResponseEnd(): void {
    // An endpoint that answers without reading what it was sent would let it pile up.
    this.#settle(this.#answer!, this.#connection.socket!.writableLength === 0);
  }

  onResponseError(_controller: unknown, error: Error): void {
    // Endpoints may close a connection just when it is used again; a new one shows what is true.
    const isStale = this.#connection.wasUsed && !this.#connections.isClosed;
    if (this.#isSettled || this.#answer || !isStale) return this.#settle({ error }, false);
    void this.#connections.discard(this.#connection);
    this.#connection = this.#connections.create(this.#target.origin);
    this.#dispatch();
  }

  onDeadline(): void {
    const { timeoutMs } = this.#request;
    this.#settle({ error: new Error(`no complete answer within ${timeoutMs} ms`) }, false);
  }

  #dispatch(): void {
    const { headers, body } = this.#request;
    const { path } = this.#target;
    const { client, deadline } = this.#connection;
    deadline.set(this.#deadlineAt, this);
    client.dispatch({ path, method: 'POST', headers, body }, this);
  }

  #settle(answer: Answer, isReusable: boolean): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (isReusable) this.#connections.giveBack(this.#connection);
    else void this.#connections.discard(this.#connection);
    if (this.#isSending) queueMicrotask(() => this.#answered(answer));
    else this.#answered(answer);
  }
}
