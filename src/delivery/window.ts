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
  #lanes = new Lanes<Delivery>();
  #size = 0;
  /** Those that stand in the table or are on their way there, by id. */
  readonly #rows = new Map<string, Delivery>();
  /** What waits for nothing else, in the order in which it became so. */
  ready = new Queue<Delivery>();
  readonly #parked = new Parked();
  #isUnparkDue = false;
  #stuck = 0;

  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.#size >= mostInWindow;
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

  /** The first delivery whose transaction waits for it. */
  get oldestHeld(): Delivery | undefined {
    let delivery = this.#lanes.first;
    while (delivery && !delivery.isHeld) delivery = delivery.behind as Delivery | undefined;
    return delivery;
  }

  /** All that is not done, in the order of the log. */
  *open(): Generator<Delivery, void> {
    for (const delivery of this.#lanes.open()) if (delivery.isOpen) yield delivery;
  }

  has(delivery: Delivery): boolean {
    return delivery.isOpen;
  }

  /** The delivery of a row, if it is here. */
  get(id: string): Delivery | undefined {
    return this.#rows.get(id);
  }

  /** Those that stand in the table and are not being sent. */
  stored(): Delivery[] {
    return [...this.#rows.values()].filter(({ stored, inFlight }) => stored === 'yes' && !inFlight);
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
    delivery.isOpen = true;
    this.#size++;
    if (delivery.stored !== 'no') this.#rows.set(delivery.id, delivery);
    if (this.#stuck > 0 && this.#lanes.waitsForAny(delivery, ({ stuck }) => stuck)) {
      this.#setStuck(delivery, true);
    }
    if (this.#lanes.add(delivery)) this.ready.push(delivery);
  }

  /** It is being written to the table. */
  storing(delivery: Delivery): void {
    if (delivery.isOpen) this.#rows.set(delivery.id, delivery);
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
    this.#close(delivery);
    if (delivery.stuck) this.#spread(delivery, false);
    if (delivery.waitsFor > 0) return;
    const leaving = [delivery];
    for (let last = leaving.pop(); last; last = leaving.pop()) {
      for (const next of this.#lanes.done(last)) {
        if (next.done && !next.isOpen) leaving.push(next);
        else if (!next.done && !next.batched) this.ready.push(next);
      }
    }
  }

  /**
   * To be called every now and then: parks what is stuck behind others, when that is much and all of
   * it is stored. Returns what has left memory.
   */
  evict(): Delivery[] {
    if (this.#size === 0 && this.#parked.size > 0) this.#isUnparkDue = true;
    if (this.#stuck <= mostStuck) return [];
    // One that waits for several was taken for free when the first of them was done.
    const open = [...this.open()];
    for (const delivery of open) if (delivery.stuck) this.#spread(delivery, true);
    const waiting = open.filter(
      ({ stuck, waitsFor, batched }) => stuck && waitsFor > 0 && !batched,
    );
    if (waiting.length === 0 || waiting.some(({ stored }) => stored !== 'yes')) return [];
    for (const delivery of waiting) {
      this.#close(delivery);
      this.#setStuck(delivery, false);
      this.#parked.add(delivery);
    }
    this.#lanes = new Lanes();
    for (const delivery of open) if (delivery.isOpen) this.#lanes.add(delivery);
    return waiting;
  }

  /** Forgets everything, and returns it. */
  clear(): Delivery[] {
    const all = [...this.open()];
    for (const delivery of all) this.#close(delivery);
    this.#lanes = new Lanes();
    this.ready = new Queue();
    this.unpark();
    this.#stuck = 0;
    return all;
  }

  #close(delivery: Delivery): void {
    delivery.isOpen = false;
    this.#size--;
    if (this.#rows.size > 0) this.#rows.delete(delivery.id);
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
