/**
 * `pgstream.webhook_deliveries`: the deliveries that no transaction has to wait for any more.
 *
 * Appends are committed in the order in which they were asked for, many at a time. Deliveries are
 * taken out by DELETE, many at a time as well; one that was accepted but not yet taken out when the
 * runner dies is sent again. Rows that somebody else has locked are passed over and taken out later,
 * so that nobody's open transaction holds up what has to be stored.
 */
import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import type { Sql } from 'postgres';
import { sliceOf } from '../event/slice.js';
import type { Lsn } from '../replication/lsn.js';
import type { Transactions } from '../source/transactions.js';
import type { Delivery, LogPlace } from './delivery.js';
import { bodiesOf, bytesWaiting, countPending, rowsBehind } from './queries.js';
import { Queue } from './queue.js';
import { copyIn, fromRow } from './rows.js';
import {
  clearSome,
  dropOldest,
  isCleared,
  noteAttempts,
  prepare,
  setAside,
  takeOut,
  type Aside,
  type Dropped,
} from './statements.js';

export interface Loaded {
  readonly deliveries: readonly Delivery[];
  /** The place of the last row that was read; undefined where there was none. */
  readonly end: LogPlace | undefined;
  /** There were no more at the time of the question. */
  readonly isLast: boolean;
}

export interface StoreOptions {
  readonly sql: Sql;
  readonly transactions: Transactions;
  /** Repeats work while Postgres is away. */
  readonly keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
  /** A write has failed for good. */
  readonly fail: (error: unknown) => void;
}

const mostBytesAtOnce = 4 * 1024 * 1024;
const mostRowsAtOnce = 5_000;
/** When rows that were locked are tried again. */
const lockedRetryMs = 1_000;
const uniqueViolation = '23505';

interface Append {
  readonly delivery: Delivery;
  readonly committed: () => void;
}

export class DeliveryStore {
  readonly #options: StoreOptions;
  readonly #appends = new Queue<Append>();
  readonly #removals = new Queue<string>();
  /** Ids that are being taken out, so that no load brings them back. */
  readonly #leaving = new Set<string>();
  readonly #loads = new Set<Set<string>>();
  #attempts = new Set<Delivery>();
  #writing: Promise<void> | undefined;

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  /**
   * Makes the table fit to be read from, with the slot at `position` and ids of this server that begin
   * with `idPrefix`. Returns the bytes that wait for each subscription.
   */
  async open(position: Lsn, idPrefix: string): Promise<Map<number, number>> {
    await this.#options.transactions.run((client) => prepare(client, position, idPrefix));
    const rows = await this.#read((sql) => bytesWaiting(sql));
    return new Map(rows.map(({ subscription, bytes }) => [subscription, bytes]));
  }

  /** Writes a delivery behind all that were appended before; `committed` is called when it stands. */
  append(delivery: Delivery, committed: () => void): void {
    delivery.stored = 'storing';
    this.#appends.push({ delivery, committed });
    this.#write();
  }

  /** Takes out a delivery that was accepted. */
  remove(delivery: Delivery): void {
    this.#attempts.delete(delivery);
    this.#removals.push(delivery.id);
    this.#leaving.add(delivery.id);
    for (const left of this.#loads) left.add(delivery.id);
    this.#write();
  }

  /** Notes a failed attempt of a stored delivery. */
  noteAttempt(delivery: Delivery): void {
    this.#attempts.add(delivery);
    this.#write();
  }

  /** Marks a stored delivery as set aside: it is not among those that wait any more. */
  async setAside(delivery: Delivery, as: Aside): Promise<void> {
    this.#attempts.delete(delivery);
    await this.#untilUnlocked((client) => setAside(client, delivery, as));
    for (const left of this.#loads) left.add(delivery.id);
  }

  /** Resolves when all that was asked for so far is written. */
  async flushed(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  /** The bytes that wait for a subscription. */
  async bytesOf(subscription: number): Promise<number> {
    const rows = await this.#read((sql) => bytesWaiting(sql, subscription));
    return rows[0]?.bytes ?? 0;
  }

  /** Deletes the oldest, as many as it takes to free `bytes` but not too many at once; returns them. */
  dropOldest(subscription: number, bytes: number): Promise<readonly Dropped[]> {
    return this.#options.transactions.run((client) =>
      dropOldest(client, subscription, bytes, mostRowsAtOnce),
    );
  }

  /** Whether any of these is no longer in the table. */
  async areGone(deliveries: readonly Delivery[]): Promise<boolean> {
    const ids = deliveries.map(({ id }) => id);
    const rows = await this.#read((sql) => countPending(sql, ids));
    return rows[0]!.count < deliveries.length;
  }

  /**
   * The deliveries of a subscription that wait behind a place, in order; with the bodies that are
   * small, where these are wanted.
   */
  async load(
    subscription: number,
    after: LogPlace,
    limit: number,
    withBodies: boolean,
  ): Promise<Loaded> {
    const left = new Set(this.#leaving);
    this.#loads.add(left);
    const rows = await this.#read((sql) => rowsBehind(sql, subscription, after, limit, withBodies));
    this.#loads.delete(left);
    const deliveries = rows.map((row) => fromRow(subscription, row));
    return {
      deliveries: deliveries.filter(({ id }) => !left.has(id)),
      end: deliveries.at(-1),
      isLast: rows.length < limit,
    };
  }

  /** Reads the bodies of stored deliveries; one that is no longer there was taken out by somebody. */
  async fetchBodies(deliveries: readonly Delivery[]): Promise<void> {
    const ids = deliveries.map(({ id }) => id);
    const rows = await this.#read((sql) => bodiesOf(sql, ids));
    const bodies = new Map(rows.map(({ id, body }) => [id, sliceOf(body)]));
    for (const delivery of deliveries) delivery.body = bodies.get(delivery.id);
  }

  /** Takes out everything of a subscription that is no more. */
  clear(subscription: number): void {
    const { transactions, fail } = this.#options;
    const clear = async () => {
      let count: number;
      do {
        count = await transactions.run((client) => clearSome(client, subscription, mostRowsAtOnce));
      } while (count > 0);
      await this.#untilUnlocked(async (client) => {
        await clearSome(client, subscription, mostRowsAtOnce);
        return isCleared(client, subscription);
      });
    };
    clear().catch(fail);
  }

  #read<T>(query: (sql: Sql) => PromiseLike<T>): Promise<T> {
    const { sql, keepTrying } = this.#options;
    return keepTrying(async () => query(sql));
  }

  #write(): void {
    this.#writing ??= this.#writeAll()
      .catch(this.#options.fail)
      .finally(() => (this.#writing = undefined));
  }

  /** One transaction after the other, each with all that has come together in the meantime. */
  async #writeAll(): Promise<void> {
    await Promise.resolve();
    while (this.#appends.length + this.#removals.length + this.#attempts.size > 0) {
      const appends = this.#takeAppends();
      const attempts = [...this.#attempts];
      this.#attempts = new Set();
      const removals = take(this.#removals, mostRowsAtOnce);
      const locked = await this.#writeOnce(appends, attempts, removals);
      for (const id of removals) if (!locked.has(id)) this.#leaving.delete(id);
      this.#removeLater([...locked]);
      for (const { delivery, committed } of appends) {
        delivery.stored = 'yes';
        committed();
      }
    }
  }

  /** Returns the ids of removals that somebody has locked. */
  async #writeOnce(
    appends: readonly Append[],
    attempts: readonly Delivery[],
    removals: readonly string[],
  ): Promise<ReadonlySet<string>> {
    const deliveries = appends.map(({ delivery }) => delivery);
    const ids = deliveries.map(({ id }) => id);
    let isRepeat = false;
    for (;;) {
      try {
        return await this.#options.transactions.run(async (client) => {
          // The first try may have been committed although the answer was lost.
          if (isRepeat) await takeOut(client, ids);
          isRepeat = true;
          if (appends.length > 0) await copyIn(client, deliveries);
          await noteAttempts(client, attempts);
          return takeOut(client, removals);
        });
      } catch (error) {
        // A try that was given up as lost has been committed only now.
        if ((error as { code?: string }).code !== uniqueViolation) throw error;
      }
    }
  }

  #removeLater(ids: readonly string[]): void {
    if (ids.length === 0) return;
    void setTimeout(lockedRetryMs, undefined, { ref: false }).then(() => {
      for (const id of ids) this.#removals.push(id);
      this.#write();
    });
  }

  /** Repeats work every now and then until it is done, because somebody has locked what it is about. */
  async #untilUnlocked(work: (client: pg.Client) => Promise<boolean>): Promise<void> {
    while (!(await this.#options.transactions.run(work))) {
      await setTimeout(lockedRetryMs, undefined, { ref: false });
    }
  }

  #takeAppends(): Append[] {
    const batch: Append[] = [];
    for (let bytes = 0; bytes < mostBytesAtOnce && batch.length < mostRowsAtOnce;) {
      const append = this.#appends.shift();
      if (!append) break;
      batch.push(append);
      bytes += append.delivery.bytes;
    }
    return batch;
  }
}

function take<T>(queue: Queue<T>, most: number): T[] {
  const taken: T[] = [];
  while (taken.length < most) {
    const item = queue.shift();
    if (item === undefined) break;
    taken.push(item);
  }
  return taken;
}
