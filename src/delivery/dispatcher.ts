/**
 * Delivers events: per subscription in the order that its lanes demand, otherwise side by side, and
 * again until they are accepted. A transaction is released by a delivery only when the endpoint has
 * answered 2xx, or when its subscription has been deleted and the event was tried.
 */
import type { Transaction } from '../replication/progress.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { Log } from '../log.js';
import { backoffMs } from './backoff.js';
import type { Answer, Transport } from './http.js';
import { Lanes, type Place } from './lanes.js';
import { Queue } from './queue.js';
import { retryAfterMs } from './retry-after.js';

/** An event on its way to a subscription. */
export interface Delivery extends Place {
  /** `webhook-id`: the same whenever this event goes to this subscription. */
  readonly id: string;
  readonly body: Buffer;
  readonly transaction: Transaction;
  failures: number;
}

export interface DispatcherOptions {
  readonly transport: Transport;
  readonly defaultMaxInFlight: number;
  readonly defaultTimeoutMs: number;
  /** Above this many bytes of undelivered events, `room` waits. */
  readonly maxQueueBytes: number;
  readonly log: Log;
}

interface Endpoint {
  subscription: Subscription;
  readonly lanes: Lanes<Delivery>;
  readonly ready: Queue<Delivery>;
  inFlight: number;
  pending: number;
  failing: number;
}

/** What a delivery takes beside its body: its place in the order, its headers, its request. */
const overheadBytes = 3 * 1024;

const memoryOf = ({ body }: Delivery) => body.length + overheadBytes;

const retry = { firstMs: 1_000, mostMs: 60_000 };

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #endpoints = new Map<number, Endpoint>();
  /** Definitions later than those that events came with; null where the subscription is deleted. */
  readonly #latest = new Map<number, Subscription | null>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #queuedBytes = 0;
  #inFlight = 0;
  #delivered = 0;
  #stopped = false;
  #onChange: (() => void) | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** Counts since the start, and what is under way. */
  get counts() {
    let pending = 0;
    let failing = 0;
    for (const endpoint of this.#endpoints.values()) {
      pending += endpoint.pending;
      failing += endpoint.failing;
    }
    return { delivered: this.#delivered, inFlight: this.#inFlight, pending, failing };
  }

  /** Takes over an event; returns at once. */
  deliver(subscription: Subscription, delivery: Delivery): void {
    const endpoint = this.#endpoint(subscription);
    delivery.transaction.hold();
    endpoint.pending++;
    this.#queuedBytes += memoryOf(delivery);
    if (endpoint.lanes.add(delivery)) {
      endpoint.ready.push(delivery);
      this.#pump(endpoint);
    }
  }

  /**
   * The subscription has changed: what waits, and what comes later, goes where it points now. null:
   * it has been deleted, and what waits is tried once more at most.
   */
  reconfigure(id: number, latest: Subscription | null): void {
    this.#latest.set(id, latest);
    const endpoint = this.#endpoints.get(id);
    if (!endpoint) return;
    endpoint.subscription = latest ?? endpoint.subscription;
    this.#pump(endpoint);
  }

  /** Whether so much is undelivered that no more should be taken over. */
  get isFull(): boolean {
    return this.#queuedBytes > this.#options.maxQueueBytes;
  }

  /** Resolves when there is room for more events, or when the signal fires. */
  async room(signal: AbortSignal): Promise<void> {
    while (this.isFull && !signal.aborted) {
      await this.#change(signal);
    }
  }

  /** Takes nothing up again that has failed, and resolves when nothing else is under way. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#retries) clearTimeout(timer);
    while (this.#inFlight > 0 && !signal.aborted) await this.#change(signal);
  }

  #endpoint(subscription: Subscription): Endpoint {
    let endpoint = this.#endpoints.get(subscription.id);
    if (!endpoint) {
      endpoint = {
        subscription: this.#latest.get(subscription.id) ?? subscription,
        lanes: new Lanes(),
        ready: new Queue(),
        inFlight: 0,
        pending: 0,
        failing: 0,
      };
      this.#endpoints.set(subscription.id, endpoint);
    }
    return endpoint;
  }

  #pump(endpoint: Endpoint): void {
    const most = endpoint.subscription.maxInFlight ?? this.#options.defaultMaxInFlight;
    while (endpoint.inFlight < most) {
      const delivery = endpoint.ready.shift();
      if (!delivery) return;
      this.#send(endpoint, delivery);
    }
  }

  #send(endpoint: Endpoint, delivery: Delivery): void {
    const { url, headers, timeoutMs } = endpoint.subscription;
    endpoint.inFlight++;
    this.#inFlight++;
    this.#options.transport.send(
      {
        url,
        headers: {
          ...headers,
          'content-type': 'application/json',
          'webhook-id': delivery.id,
          'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
        },
        body: delivery.body,
        timeoutMs: timeoutMs ?? this.#options.defaultTimeoutMs,
      },
      (answer) => this.#answered(endpoint, delivery, answer),
    );
  }

  #answered(endpoint: Endpoint, delivery: Delivery, answer: Answer): void {
    endpoint.inFlight--;
    this.#inFlight--;
    if ('status' in answer && answer.status >= 200 && answer.status < 300) {
      this.#options.log.trace({ id: delivery.id, status: answer.status }, 'event delivered');
      this.#delivered++;
      this.#finish(endpoint, delivery);
    } else {
      this.#fail(endpoint, delivery, answer);
    }
    this.#pump(endpoint);
    this.#onChange?.();
  }

  #finish(endpoint: Endpoint, delivery: Delivery): void {
    if (delivery.failures > 0 && --endpoint.failing === 0) {
      this.#options.log.info(describe(endpoint), 'the endpoint accepts events again');
    }
    endpoint.pending--;
    this.#queuedBytes -= memoryOf(delivery);
    for (const next of endpoint.lanes.done(delivery)) endpoint.ready.push(next);
    if (endpoint.pending === 0) this.#endpoints.delete(endpoint.subscription.id);
    delivery.transaction.release();
  }

  #fail(endpoint: Endpoint, delivery: Delivery, answer: Answer): void {
    if (this.#latest.get(endpoint.subscription.id) === null) {
      this.#finish(endpoint, delivery);
      return;
    }
    if (delivery.failures === 0) endpoint.failing++;
    delivery.failures++;
    const asked = 'status' in answer ? retryAfterMs(answer.retryAfter, Date.now()) : undefined;
    const retryInMs = Math.max(asked ?? 0, backoffMs(retry, delivery.failures, Math.random()));
    const reason = 'status' in answer ? `HTTP status ${answer.status}` : reasonOf(answer.error);
    this.#options.log[endpoint.failing === 1 && delivery.failures === 1 ? 'warn' : 'debug'](
      { ...describe(endpoint), id: delivery.id, reason, attempt: delivery.failures, retryInMs },
      'the endpoint did not accept an event; it will be tried again',
    );
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      endpoint.ready.push(delivery);
      this.#pump(endpoint);
    }, retryInMs);
    this.#retries.add(timer);
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const changed = () => {
        signal.removeEventListener('abort', changed);
        this.#onChange = undefined;
        resolve();
      };
      signal.addEventListener('abort', changed);
      this.#onChange = changed;
    });
  }
}

const describe = ({ subscription }: Endpoint) => ({
  subscription: subscription.id,
  url: subscription.url,
});

const reasonOf = (error: Error & { code?: unknown }) =>
  error.message || (typeof error.code === 'string' ? error.code : error.name);
