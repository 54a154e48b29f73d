/**
 * The lease of a slot: of all runners that follow it, one acts and the others stand by.
 *
 * Invariants, for the row of `pgstream.runner_lease` that belongs to the slot:
 *
 * 1. Its `epoch` grows by one with each take-over, in a transaction that holds the row FOR UPDATE
 *    and has looked, under that lock, whether the lease is free. So a tenure, which is an epoch with
 *    the random id of its holder, begins once and never comes back.
 * 2. A heartbeat and a fenced write name their tenure. Neither ever succeeds after a take-over.
 * 3. A leader acts only while `isValid`: for two seconds from just before it sent a heartbeat that
 *    was answered. A stand-by takes over after three seconds of silence, counted from when that
 *    heartbeat was written. So no two of them send requests at the same time; a request that is
 *    under way at a take-over can only be recognised by its id.
 * 4. The slot is never confirmed beyond `confirmed_lsn` as it would be after a crash of the server:
 *    `confirmed` follows the record, never the other way round. So a slot beyond the record was
 *    moved by somebody else.
 * 5. The old reader of the slot is ended after the take-over. It can confirm nothing new by then,
 *    for nothing new can be on record.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PgstreamError } from '../errors.js';
import type { Log } from '../log.js';
import type { Lsn } from '../replication/lsn.js';
import type { Connection } from '../settings/connection.js';
import { ShortConnection, type Ask } from './connection.js';
import { DurableRecord } from './durable.js';
import { Watermarks } from './watermarks.js';
import { fence, fencedError, type Tenure } from './fence.js';
import { endTenure, readRecord, writeHeartbeat, type Report } from './row.js';
import { askSlotFacts, findTrouble, serverBehind, troublesOf } from './trouble.js';
import { isValidAt, nextBeatMs, type Moment, type Periods } from './timing.js';
import { endReader } from './walsender.js';

export interface LeaseOptions {
  readonly connection: Connection;
  readonly slotName: string;
  /** Asked before each heartbeat. */
  readonly report: () => Report;
  readonly log: Log;
}

/** The first failure is mended by the next try, usually; later ones are told of, not each of them. */
const warnEvery = 50;

export const now = (): Moment => ({ steady: performance.now(), wall: Date.now() });

/** A tenure, from its take-over until it is released or fenced. Made by `waitForLease`. */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #periods: Periods;
  readonly #tenure: Tenure;
  readonly #heartbeats: ShortConnection;
  /** For what must be on disk before it counts. */
  readonly #lasting: ShortConnection;
  readonly #watch: ShortConnection;
  readonly #fenced = new AbortController();
  readonly #released = new AbortController();
  readonly #beating: Promise<void>;
  #record = new DurableRecord(0n);
  readonly #watermarks = new Watermarks();
  /** When the last heartbeat that was answered was sent, and when any was. */
  #sent: Moment;
  #tried: number;
  #failures = 0;
  /** It is fenced or released. Asked before each request, which the signals are too slow for. */
  #isOver = false;
  /** The record of the server is older than what was on record for good. */
  #restored: PgstreamError | undefined;
  #woken: (() => void)[] = [];

  /** `taken` is the moment just before the take-over was sent. */
  constructor(options: LeaseOptions, periods: Periods, tenure: Tenure, taken: Moment) {
    const { connection } = options;
    const { answerMs } = periods;
    this.#options = options;
    this.#periods = periods;
    this.#tenure = tenure;
    this.#sent = taken;
    this.#tried = taken.steady;
    this.#heartbeats = new ShortConnection({ connection, answerMs, commit: 'off' });
    this.#lasting = new ShortConnection({ connection, answerMs, commit: 'local' });
    this.#watch = new ShortConnection({ connection, answerMs, commit: 'off' });
    this.#beating = this.#beat();
  }

  /** Counts the leaders of this slot. */
  get epoch(): bigint {
    return this.#tenure.epoch;
  }

  /** Whether requests may be sent now. A process that was stopped meanwhile sees at once that not. */
  get isValid(): boolean {
    return !this.#isOver && isValidAt(now(), this.#sent, this.#periods.validMs);
  }

  /** What the slot may be confirmed up to. */
  get confirmed(): Lsn {
    return this.#record.confirmed;
  }

  /** Fires when another runner has taken over, with a PgstreamError `fenced` as its reason. */
  get fenced(): AbortSignal {
    return this.#fenced.signal;
  }

  /**
   * Resolves when requests may be sent, which `isValid` has to be asked about again before each of
   * them. Rejects when they never will be, or the signal fires.
   */
  async whenValid(signal: AbortSignal): Promise<void> {
    const wake = () => this.#wake();
    signal.addEventListener('abort', wake);
    try {
      for (;;) {
        signal.throwIfAborted();
        this.#throwIfOver();
        if (this.isValid) return;
        await new Promise<void>((resolve) => this.#woken.push(resolve));
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  /**
   * Resolves when the slot can be read: the lease is valid, and whoever still reads the slot has
   * been ended. To be awaited before each connection to the slot, while we have none.
   */
  async ready(signal: AbortSignal): Promise<void> {
    await this.whenValid(signal);
    try {
      await endReader(this.#lasting.ask, this.#options.slotName, this.#periods.leaveMs);
    } finally {
      await this.#lasting.end();
    }
  }

  /**
   * What keeps the slot from being read, with the next command to type; undefined while all is well.
   * To be asked every few seconds. `received`: the greatest position that the server has told us of.
   * Rejects with the PgstreamError of a question that failed, which says nothing of the slot.
   */
  async findTrouble(received: () => Lsn): Promise<PgstreamError | undefined> {
    if (this.#restored) return this.#restored;
    const reading = { confirmed: () => this.confirmed, received };
    return findTrouble(this.#watch.ask, this.#options.slotName, reading);
  }

  /**
   * The same for a slot that is not read at present: held against the record in the table, which
   * `pgstream init` sets when it accepts what has happened.
   */
  async findStandingTrouble(): Promise<PgstreamError | undefined> {
    const { slotName } = this.#options;
    const facts = await askSlotFacts(this.#watch.ask, slotName);
    const recorded = await readRecord(this.#watch.ask, slotName);
    return troublesOf(facts, slotName, { ...recorded, received: 0n })[0];
  }

  /** The first statement of each transaction that writes; see `fence`. */
  fence(ask: Ask): Promise<void> {
    return fence(ask, this.#tenure);
  }

  /** For `waitForLease`: where the slot was confirmed up to when the tenure began. */
  begin(position: Lsn): void {
    this.#record = new DurableRecord(position);
  }

  /**
   * Puts what is done now on record and on disk, so that `confirmed` is up to date at once: for the
   * end of a run, before the stream confirms for the last time.
   */
  async settle(): Promise<void> {
    const report = this.#options.report();
    const answer = await writeHeartbeat(this.#lasting.ask, this.#tenure, report, this.confirmed);
    if (!answer) throw this.#lose();
    if (answer.confirmed !== null) this.#record.flushed(answer.confirmed);
  }

  /**
   * Ends the tenure, after the slot was left. Another runner need not wait then. Rejects with a
   * PgstreamError when the server cannot be told; the tenure is over all the same.
   */
  async release(): Promise<void> {
    this.#isOver = true;
    this.#released.abort();
    this.#wake();
    await this.#beating;
    try {
      if (!this.fenced.aborted) await endTenure(this.#lasting.ask, this.#tenure);
    } finally {
      await Promise.all([this.#lasting.end(), this.#watch.end()]);
    }
  }

  async #beat(): Promise<void> {
    while (!this.#isOver) {
      const { signal } = this.#released;
      await sleep(
        nextBeatMs(this.#periods, {
          sinceSentMs: performance.now() - this.#tried,
          failures: this.#failures,
          awaitsFlush: this.#record.awaitsFlush,
        }),
        undefined,
        { signal },
      ).catch(() => undefined);
      if (!this.#isOver) await this.#beatOnce(this.#heartbeats.ask);
    }
    await this.#heartbeats.end();
  }

  async #beatOnce(ask: Ask): Promise<void> {
    const record = this.#record;
    const sent = now();
    this.#tried = sent.steady;
    try {
      const report = this.#options.report();
      const past = this.#watermarks.pass(report.confirmed ?? 0n);
      const durable = record.confirmed;
      const answer = await writeHeartbeat(ask, this.#tenure, report, durable, past);
      if (!answer) {
        this.#lose();
        return;
      }
      const known = answer.confirmed ?? durable;
      this.#restored =
        known < durable ? serverBehind(this.#options.slotName, known, durable) : undefined;
      this.#watermarks.add({ position: answer.inserted, at: answer.at });
      record.answered({ ...answer, written: answer.confirmed ?? 0n });
      this.#sent = sent;
      this.#failures = 0;
      this.#wake();
    } catch (error) {
      record.interrupted();
      this.#failures++;
      if (this.#failures % warnEvery !== 2) return;
      const reason = (error as PgstreamError).message;
      this.#options.log.warn({ reason, failures: this.#failures }, 'heartbeats fail');
    }
  }

  #lose(): PgstreamError {
    const error = fencedError(this.#options.slotName);
    this.#isOver = true;
    this.#fenced.abort(error);
    this.#wake();
    return error;
  }

  #throwIfOver(): void {
    this.fenced.throwIfAborted();
    if (this.#released.signal.aborted) throw fencedError(this.#options.slotName);
  }

  #wake(): void {
    const woken = this.#woken;
    this.#woken = [];
    for (const resume of woken) resume();
  }
}
