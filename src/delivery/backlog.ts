/**
 * The tail of one subscription: the rows of the table that stand behind its window.
 *
 * Invariant (order): rows come into the window in the order of the log, from a cursor on. While there
 * is a tail that has not been looked at, a new event goes behind it, to the table. What was looked at
 * and stands behind a failed delivery is parked: it stays in the table, and so does whatever has to
 * come after it. So no event overtakes an older one that it must not overtake.
 */
import type { Batch } from './batch.js';
import type { Custody, CustodyContext } from './custody.js';
import { isBefore, type Delivery, type LogPlace } from './delivery.js';

/** Rows are taken into the window so many at a time … */
const refillRows = 1_000;
/** … fewer while little may be sent. */
const probeRows = 16;
/** Bodies that are fetched from the table at once. */
const fetchRows = 256;
const fetchBytes = 1024 * 1024;

const nowhere: LogPlace = { commitLsn: 0n, ordinal: 0 };

export class Backlog {
  readonly #custody: Custody;
  readonly #context: CustodyContext;
  /** Whether there are, or may be, rows behind the window that have not been looked at. */
  #hasTail: boolean;
  /** The last delivery that was taken into the window or parked. */
  #cursor: LogPlace = nowhere;
  #restarts = 0;
  #isRefilling = false;
  #isFetching = false;
  #isStopped = false;

  constructor(hasTail: boolean, custody: Custody, context: CustodyContext) {
    this.#hasTail = hasTail;
    this.#custody = custody;
    this.#context = context;
  }

  get hasTail(): boolean {
    return this.#hasTail;
  }

  /** Whether the window is short of rows that could come into it. */
  get isWanted(): boolean {
    const { window } = this.#custody;
    const isReadable = this.#hasTail && !this.#isRefilling && !this.#isStopped;
    const { length } = window.ready;
    const isShort = this.#context.memory.isCrowded ? length === 0 : length < refillRows;
    return isReadable && isShort && !window.isFull && !window.isParkingFull;
  }

  /** An event goes to the table, behind the window: so do all that come later. */
  lengthen(): void {
    this.#hasTail = true;
  }

  /** An event of the log has come into the window, at this place. */
  pass(place: LogPlace): void {
    if (isBefore(this.#cursor, place)) this.#cursor = place;
  }

  /** Nothing of the tail is wanted any more. */
  drop(): void {
    this.#hasTail = false;
  }

  /** Reads the table anew, with what was parked. */
  restart(): void {
    this.#restarts++;
    this.#custody.window.unpark();
    this.#cursor = nowhere;
    this.#hasTail = true;
  }

  /** Reads what was parked, once it may have become free and the rest of the tail has been seen. */
  unpark(): void {
    const { window } = this.#custody;
    if (window.isUnparkDue && (!this.#hasTail || window.isParkingFull)) this.restart();
  }

  /** Begins nothing more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Whether the window may be left to the table, because nothing is to be sent from it for a while. */
  get isCollapsible(): boolean {
    const { window, unstoredCount } = this.#custody;
    const isBusy = this.#isRefilling || this.#isFetching;
    return !isBusy && unstoredCount === 0 && window.size > probeRows;
  }

  /** Leaves all of the window to the table. */
  collapse(): void {
    this.#custody.leave(this.#custody.window.clear());
    this.restart();
  }

  /** Takes rows into the window, few for a probe; resolves to whether there may be more to do. */
  async refill(isProbe: boolean): Promise<boolean> {
    const { store, memory } = this.#context;
    const { committed, subscription } = this.#custody;
    const restarts = this.#restarts;
    const isPlain = !isProbe && !memory.isCrowded;
    const limit = isPlain ? refillRows : probeRows;
    this.#isRefilling = true;
    const loaded = await store.load(subscription.id, this.#cursor, limit, isPlain);
    this.#isRefilling = false;
    if (this.#custody.isDeleted || this.#isStopped) return false;
    if (this.#restarts > restarts) return true;
    // What was not committed before the question may be missing from the answer.
    if (loaded.isLast) this.#hasTail = this.#custody.written > committed;
    for (const delivery of loaded.deliveries) this.#takeIn(delivery);
    if (!loaded.end) return false;
    this.pass(loaded.end);
    return true;
  }

  /**
   * Fetches the bodies of a batch, or of what is ready and comes next. What somebody has taken out of
   * the table is done. Resolves to false where this must wait, because others are being fetched.
   */
  async fetch(batch?: Batch): Promise<boolean> {
    if (this.#isFetching || this.#isStopped) return false;
    const wanted = batch?.members.filter(({ body }) => body === undefined) ?? this.#nextBodies();
    this.#isFetching = true;
    await this.#context.store.fetchBodies(wanted);
    this.#isFetching = false;
    const gone = wanted.filter(({ body }) => body === undefined);
    for (const delivery of wanted) if (delivery.body) this.#custody.reckon(delivery);
    if (gone.length > 0) this.#custody.window.ready.remove(new Set(gone));
    this.#custody.forgetRows(gone);
    return true;
  }

  #nextBodies(): Delivery[] {
    const { ready } = this.#custody.window;
    const wanted: Delivery[] = [];
    let bytes = 0;
    for (const delivery of ready.first(this.#context.memory.isCrowded ? 1 : fetchRows)) {
      if (delivery.body !== undefined) continue;
      bytes += delivery.bytes;
      if (wanted.length > 0 && bytes > fetchBytes) break;
      wanted.push(delivery);
    }
    return wanted;
  }

  /** A row comes into the window, or stays behind what has failed. */
  #takeIn(delivery: Delivery): void {
    const { window, subscription } = this.#custody;
    if (window.get(delivery.id)) return;
    delivery.ordering = subscription.ordering;
    if (window.mustPark(delivery)) return window.park(delivery);
    this.#custody.admitRow(delivery);
    this.pass(delivery);
  }
}
