/** The endpoints of all subscriptions, and the memory that they share. */
import type { Subscription } from '../subscriptions/subscription.js';
import type { Delivery, Failure } from './delivery.js';
import { Endpoint, type EndpointContext, type EndpointStatus } from './endpoint.js';

const tickMs = 500;
/** The share of its time for which the event loop is at work, above which the runner is busy. */
const busyShare = 0.5;
/** How long is waited at most before it is looked again whether there is room. */
const waitMs = 5;

/** What there is to know of a subscription, whatever the place in the log. */
interface Latest {
  /** `subscription_changes.id`: a higher one is newer. */
  readonly change: number;
  /** null where the subscription is deleted. */
  readonly definition: Subscription | null;
}

export class Dispatcher {
  readonly #context: EndpointContext;
  readonly #endpoints = new Map<number, Endpoint>();
  readonly #latest = new Map<number, Latest>();
  /** Bytes of an earlier run that wait in the table, by subscription. */
  #waiting: Map<number, number>;
  /** Endpoints that have so much to do that the log waits for them a moment. */
  readonly #awaited = new Set<Endpoint>();
  /** What is waited for, and who waits for it. */
  #isAwaited: (() => boolean) | undefined;
  #wake: (() => void) | undefined;
  readonly #timer: NodeJS.Timeout;
  #utilization = performance.eventLoopUtilization();
  #isBusy = true;

  /** `waiting`: the bytes that wait in the table for each subscription. */
  constructor(
    waiting: Map<number, number>,
    context: Omit<EndpointContext, 'changed' | 'isBusy' | 'isAlone'>,
  ) {
    this.#waiting = waiting;
    this.#context = {
      ...context,
      changed: () => {
        if (this.#isAwaited?.()) this.#wake?.();
      },
      isBusy: () => this.#isBusy,
      isAlone: () => this.#endpoints.size === 1,
    };
    this.#timer = setInterval(() => {
      const before = this.#utilization;
      this.#utilization = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(this.#utilization, before);
      this.#isBusy = utilization > busyShare;
      for (const [id, endpoint] of this.#endpoints) {
        endpoint.tick();
        if (endpoint.isGone) this.#endpoints.delete(id);
      }
    }, tickMs);
  }

  /** Counts since the start, and what is under way. */
  get counts() {
    const all = [...this.#endpoints.values()];
    const sum = (of: (endpoint: Endpoint) => number) =>
      all.reduce((total, endpoint) => total + of(endpoint), 0);
    return {
      delivered: sum(({ status }) => status.delivered),
      inFlight: sum(({ inFlight }) => inFlight),
      inMemory: sum(({ status }) => status.inMemory),
    };
  }

  /** Whether no more events should be taken over at this moment. */
  get isFull(): boolean {
    if (this.#context.memory.isFull) return true;
    for (const endpoint of this.#awaited) {
      if (endpoint.isWorthWaitingFor('before')) return true;
      this.#awaited.delete(endpoint);
    }
    return false;
  }

  /** Whether the log waits for a subscription whose quota is used up. */
  get isHolding(): boolean {
    return [...this.#endpoints.values()].some(({ isHolding }) => isHolding);
  }

  /** The state of each subscription that has had events. */
  status(): [subscription: number, status: EndpointStatus][] {
    return [...this.#endpoints].map(([id, endpoint]) => [id, endpoint.status]);
  }

  /** Takes over an event; returns at once. */
  deliver(subscription: Subscription, delivery: Delivery): void {
    const endpoint = this.#endpoint(subscription);
    endpoint.deliver(delivery);
    if (endpoint.isWorthWaitingFor('now')) this.#awaited.add(endpoint);
  }

  /** Takes over an event that is not to be sent, because its expressions failed. */
  refuse(
    subscription: Subscription,
    delivery: Delivery,
    failure: Failure,
    isInvalid: boolean,
  ): void {
    this.#endpoint(subscription).refuse(delivery, failure, isInvalid);
  }

  /**
   * The subscription has changed: what waits, and what comes later, goes where it points now. null:
   * it has been deleted, and what waits in memory is tried once more at most. A change that is older
   * than what is known already is passed over.
   */
  reconfigure(id: number, change: number, definition: Subscription | null): void {
    const before = this.#latest.get(id);
    if (before && before.change >= change) return;
    this.#latest.set(id, { change, definition });
    const endpoint = this.#endpoints.get(id);
    if (definition === null) {
      const isWaiting = this.#waiting.delete(id);
      endpoint?.delete();
      if (endpoint || isWaiting) this.#context.store.clear(id);
    } else if (endpoint) {
      endpoint.reconfigure(definition);
    } else if (this.#waiting.has(id)) {
      this.#endpoint(definition).rescan();
    }
  }

  /** Somebody asked for deliveries of the subscription again. */
  replay(id: number): void {
    const definition = this.#latest.get(id)?.definition;
    if (definition) this.#endpoint(definition).replay();
  }

  /** The secret of the subscription has been read. */
  secretKnown(id: number): void {
    this.#endpoints.get(id)?.configureAnew();
  }

  /** What the owners may read may have changed. */
  reconsider(): void {
    for (const endpoint of this.#endpoints.values()) endpoint.reconsider();
  }

  /** What waits in the table for a subscription has become more. */
  rescanOne(id: number): void {
    const definition = this.#latest.get(id)?.definition;
    if (definition) this.#endpoint(definition).rescan();
  }

  /** How the subscription takes its events; undefined where it has had none. */
  look(id: number): (Pick<EndpointStatus, 'state'> & { readonly storedBytes: number }) | undefined {
    const endpoint = this.#endpoints.get(id);
    if (endpoint) return { state: endpoint.status.state, storedBytes: endpoint.storedBytes };
    const storedBytes = this.#waiting.get(id);
    return storedBytes === undefined ? undefined : { state: 'spilling', storedBytes };
  }

  /** The subscription as it stands, whatever the place in the log. */
  latest(id: number): Subscription | undefined {
    return this.#latest.get(id)?.definition ?? undefined;
  }

  /** The table may have been changed by others: it is read anew. */
  rescan(): void {
    for (const endpoint of this.#endpoints.values()) endpoint.rescan();
  }

  /** Resolves when there is room for more events, or when the signal fires. */
  async room(signal: AbortSignal): Promise<void> {
    const isRoom = () => !this.isFull;
    while (!isRoom() && !signal.aborted) await this.#until(isRoom);
  }

  /** Begins nothing more, and resolves when nothing is under way. */
  async drain(signal: AbortSignal): Promise<void> {
    this.stop();
    const isIdle = () => [...this.#endpoints.values()].every(({ inFlight }) => inFlight === 0);
    while (!isIdle() && !signal.aborted) await this.#until(isIdle);
  }

  /** Resolves when it is so after a request has been answered, and in any case soon. */
  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#isAwaited = condition;
      this.#wake = () => {
        clearTimeout(timer);
        this.#isAwaited = this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(this.#wake, waitMs);
    });
  }

  /** Begins nothing more. */
  stop(): void {
    clearInterval(this.#timer);
    for (const endpoint of this.#endpoints.values()) endpoint.stop();
  }

  #endpoint(subscription: Subscription): Endpoint {
    const { id } = subscription;
    let endpoint = this.#endpoints.get(id);
    if (!endpoint) {
      const latest = this.#latest.get(id);
      endpoint = new Endpoint(
        latest?.definition ?? subscription,
        this.#waiting.get(id),
        this.#context,
      );
      this.#waiting.delete(id);
      this.#endpoints.set(id, endpoint);
      if (latest?.definition === null) endpoint.delete();
    }
    return endpoint;
  }
}
