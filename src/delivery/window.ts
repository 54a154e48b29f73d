/**
 * The deliveries of one subscription that are in memory: which of them may run, and which stand
 * behind one that has failed.
 */
import type { Delivery } from './delivery.js';
import { Lanes } from './lanes.js';
import { Parked } from './parked.js';
import { Queue } from './queue.js';

/** So many may wait in memory behind others that have failed. */
const mostStuck = 200;
/** Beyond so many the rest stays in the table. */
const mostInWindow = 5_000;

export class Window {
  /** All that is not done, by id, in the order of the log. */
  #open = new Map<string, Delivery>();
  #lanes = new Lanes<Delivery>();
  /** What waits for nothing else, in the order in which it became so. */
  ready = new Queue<Delivery>();
  readonly #parked = new Parked();
  #isUnparkDue = false;
  #stuck = 0;

  get size(): number {
    return this.#open.size;
  }

  get isFull(): boolean {
    return this.#open.size >= mostInWindow;
  }

  get parked(): number {
    return this.#parked.size;
  }

  get isParkingFull(): boolean {
    return this.#parked.isFull;
  }

  /** Whether what is parked may have become free: what had failed is done, or nothing else is left. */
  get isUnparkDue(): boolean {
    return this.#isUnparkDue;
  }

  has(delivery: Delivery): boolean {
    return this.#open.get(delivery.id) === delivery;
  }

  get(id: string): Delivery | undefined {
    return this.#open.get(id);
  }

  /** Those that stand in the table and are not being sent. */
  stored(): Delivery[] {
    return [...this.#open.values()].filter(({ stored, inFlight }) => stored === 'yes' && !inFlight);
  }

  hasId(id: string): boolean {
    return this.#open.has(id);
  }

  /** Whether it has to stay in the table, behind one that has failed. */
  mustPark(delivery: Delivery): boolean {
    return (
      this.#parked.blocks(delivery) ||
      (this.#stuck > mostStuck && this.#lanes.waitsForAny(delivery, ({ stuck }) => stuck))
    );
  }

  /** It stays in the table; what has to come after it will, too. */
  park(delivery: Delivery): void {
    this.#parked.add(delivery);
  }

  /** What was parked is to be looked for in the table again. */
  unpark(): void {
    this.#parked.clear();
    this.#isUnparkDue = false;
  }

  add(delivery: Delivery): void {
    this.#open.set(delivery.id, delivery);
    this.#setStuck(
      delivery,
      this.#lanes.waitsForAny(delivery, ({ stuck }) => stuck),
    );
    if (this.#lanes.add(delivery)) this.ready.push(delivery);
  }

  /** An attempt has failed: what waits for it is stuck. */
  failed(delivery: Delivery): void {
    this.#spread(delivery, true);
  }

  /**
   * Takes out what is accepted or let go; what has waited for nothing else becomes ready. One that is
   * let go before its turn keeps its place until then, so that nothing behind it comes too early.
   */
  done(delivery: Delivery): void {
    if (!this.has(delivery)) return;
    if (delivery.attempts > 0 && this.#parked.size > 0) this.#isUnparkDue = true;
    this.#open.delete(delivery.id);
    if (delivery.stuck) this.#spread(delivery, false);
    const leaving = delivery.waitsFor === 0 ? [delivery] : [];
    for (let last = leaving.pop(); last; last = leaving.pop()) {
      for (const next of this.#lanes.done(last)) {
        if (next.done && !this.#open.has(next.id)) leaving.push(next);
        else if (!next.done && !next.batched) this.ready.push(next);
      }
    }
  }

  /**
   * To be called every now and then: parks what is stuck behind others, when that is much and all of
   * it is stored. Returns what has left memory.
   */
  evict(): Delivery[] {
    if (this.#open.size === 0 && this.#parked.size > 0) this.#isUnparkDue = true;
    if (this.#stuck <= mostStuck) return [];
    // One that waits for several was taken for free when the first of them was done.
    for (const delivery of this.#open.values()) if (delivery.stuck) this.#spread(delivery, true);
    const waiting = [...this.#open.values()].filter(
      ({ stuck, waitsFor, batched }) => stuck && waitsFor > 0 && !batched,
    );
    if (waiting.length === 0 || waiting.some(({ stored }) => stored !== 'yes')) return [];
    for (const delivery of waiting) {
      this.#open.delete(delivery.id);
      this.#setStuck(delivery, false);
      this.#parked.add(delivery);
    }
    this.#lanes = new Lanes();
    for (const delivery of this.#open.values()) this.#lanes.add(delivery);
    return waiting;
  }

  /** Forgets everything, and returns it. */
  clear(): Delivery[] {
    const all = [...this.#open.values()];
    this.#open = new Map();
    this.#lanes = new Lanes();
    this.ready = new Queue();
    this.unpark();
    this.#stuck = 0;
    return all;
  }

  #spread(from: Delivery, stuck: boolean): void {
    this.#setStuck(from, stuck);
    const stack: Delivery[] = [from];
    for (let next = stack.pop(); next; next = stack.pop()) {
      for (const follower of next.followers as Delivery[]) {
        if (follower.stuck === stuck) continue;
        this.#setStuck(follower, stuck);
        stack.push(follower);
      }
    }
  }

  #setStuck(delivery: Delivery, stuck: boolean): void {
    if (delivery.stuck === stuck) return;
    delivery.stuck = stuck;
    this.#stuck += stuck ? 1 : -1;
  }
}
