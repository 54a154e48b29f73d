/**
 * Who answers for each event of one subscription: the log, which its transaction holds up, or a row
 * of `pgstream.webhook_deliveries`.
 *
 * Invariants
 * - Loss. A transaction is released by a delivery only when the endpoint has accepted it, when its
 *   row is committed, or when the subscription's own settings let it go. A row is deleted only for the
 *   first or the last of these.
 * - Memory. What is reckoned for a delivery is given back when its body, or the delivery, goes.
 */
import type { Subscription } from '../subscriptions/subscription.js';
import type { Delivery } from './delivery.js';
import type { Memory } from './memory.js';
import type { Aside } from './statements.js';
import type { DeliveryStore } from './store.js';
import { Window } from './window.js';

export interface CustodyContext {
  readonly store: DeliveryStore;
  readonly memory: Memory;
}

/** What an event takes in memory beside its body: its place in the order, its headers, its request. */
const overheadBytes = 3 * 1024;

const footprint = ({ bytes }: Delivery) => bytes + overheadBytes;

export class Custody {
  readonly window = new Window();
  /** As it stands now. */
  subscription: Subscription;
  isDeleted = false;
  /** Bytes of the rows that stand in the table or are on their way there. */
  storedBytes: number;
  readonly #context: CustodyContext;
  readonly #onStored: () => void;
  #unstoredCount = 0;
  #unstoredBytes = 0;
  #written = 0;
  #committed = 0;

  constructor(
    subscription: Subscription,
    storedBytes: number,
    context: CustodyContext,
    onStored: () => void,
  ) {
    this.subscription = subscription;
    this.storedBytes = storedBytes;
    this.#context = context;
    this.#onStored = onStored;
  }

  /** Those of the window that a transaction waits for, oldest first. */
  *unstored(): Generator<Delivery, void> {
    for (const delivery of this.window.open()) if (delivery.isHeld) yield delivery;
  }

  get unstoredCount(): number {
    return this.#unstoredCount;
  }

  get unstoredBytes(): number {
    return this.#unstoredBytes;
  }

  /** How many rows have been handed to the table since the start. */
  get written(): number {
    return this.#written;
  }

  /** How many of them stand. */
  get committed(): number {
    return this.#committed;
  }

  /** What a line of the log says of the subscription. */
  get description() {
    return { subscription: this.subscription.id, url: this.subscription.url };
  }

  /** Reckons with the body of a delivery, which has come into memory. */
  reckon(delivery: Delivery): void {
    this.#reckon(delivery, footprint(delivery));
  }

  /** Takes an event into the window, whose transaction waits for it. */
  hold(delivery: Delivery): void {
    delivery.isHeld = true;
    this.#unstoredCount++;
    this.#unstoredBytes += footprint(delivery);
    this.window.add(delivery);
  }

  /** Takes a row into the window. */
  admitRow(delivery: Delivery): void {
    if (delivery.body) this.reckon(delivery);
    this.window.add(delivery);
    this.#context.memory.addRows(1);
  }

  /** Writes a delivery to the table. */
  write(delivery: Delivery): void {
    this.storedBytes += delivery.bytes;
    this.#written++;
    this.window.storing(delivery);
    this.#context.store.append(delivery, () => this.#stored(delivery));
  }

  /** Accepted, or no longer wanted. */
  letGo(deliveries: readonly Delivery[]): void {
    const isAny = deliveries.some(({ done }) => done);
    const leaving = isAny ? deliveries.filter(({ done }) => !done) : deliveries;
    for (const delivery of leaving) delivery.done = true;
    for (const delivery of leaving) {
      this.#close(delivery);
      this.#reckon(delivery, 0);
      this.#letPass(delivery);
      if (delivery.stored === 'yes') this.#remove(delivery);
    }
  }

  /** Others have taken these out of the table, or set them aside in it. */
  forgetRows(deliveries: readonly Delivery[]): void {
    const inWindow = deliveries.filter((delivery) => this.window.has(delivery));
    for (const delivery of inWindow) {
      this.storedBytes -= delivery.bytes;
      delivery.stored = 'no';
    }
    this.#context.memory.addRows(-inWindow.length);
    this.letGo(inWindow);
  }

  /** Sets a stored delivery aside in the table, where it stays until it is asked for again. */
  async setAside(delivery: Delivery, as: Aside): Promise<void> {
    await this.#context.store.setAside(delivery, as);
    if (!this.window.has(delivery)) return;
    delivery.done = true;
    this.#close(delivery);
  }

  /** What has left the window for the table alone. */
  leave(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.freeBody(delivery);
    this.#context.memory.addRows(-deliveries.length);
  }

  /** The body of what is stored need not be in memory. */
  freeBody(delivery: Delivery): void {
    if (delivery.inFlight || delivery.stored !== 'yes') return;
    delivery.body = undefined;
    this.#reckon(delivery, 0);
  }

  #stored(delivery: Delivery): void {
    this.#committed++;
    this.#letPass(delivery);
    if (delivery.done) return this.#remove(delivery);
    if (this.window.has(delivery)) this.#context.memory.addRows(1);
    if (this.isDeleted && !delivery.inFlight) return this.letGo([delivery]);
    this.freeBody(delivery);
    delivery.whenStored?.();
    this.#onStored();
  }

  /** Takes what is done out of the window. */
  #close(delivery: Delivery): void {
    if (!this.window.has(delivery)) return;
    this.window.done(delivery);
    if (delivery.stored === 'yes') this.#context.memory.addRows(-1);
  }

  /** No transaction waits for the delivery any more. */
  #letPass(delivery: Delivery): void {
    if (delivery.isHeld) {
      delivery.isHeld = false;
      this.#unstoredCount--;
      this.#unstoredBytes -= footprint(delivery);
    }
    delivery.transaction?.release();
    delivery.transaction = undefined;
  }

  #remove(delivery: Delivery): void {
    this.storedBytes -= delivery.bytes;
    this.#context.store.remove(delivery);
  }

  #reckon(delivery: Delivery, bytes: number): void {
    this.#context.memory.add(bytes - delivery.reckoned);
    delivery.reckoned = bytes;
  }
}
