/** Waits for a lease to become free, and takes it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PgstreamError } from '../errors.js';
import { isAway } from '../source/persist.js';
import { parseLsn, type Lsn } from '../replication/lsn.js';
import { ShortConnection, type Ask } from './connection.js';
import type { Tenure } from './fence.js';
import { isKnownDead, thisHolder, type Holder } from './holder.js';
import { Lease, now, type LeaseOptions } from './lease.js';
import { beginTenure, lockLease, readLease, readRecord, type LeaseRow } from './row.js';
import { usualPeriods, vacancyOf, type Moment, type Periods, type Vacancy } from './timing.js';
import { askSlotFacts, troublesOf } from './trouble.js';

/** How long a statement of a take-over may be kept waiting by locks. */
const patienceMs = 15_000;

export interface StandByOptions extends LeaseOptions {
  readonly signal: AbortSignal;
  readonly periods?: Partial<Periods>;
}

export interface Leadership {
  readonly lease: Lease;
  /** Up to where all is delivered or stored; nobody else reads the slot, which is not beyond it. */
  readonly position: Lsn;
}

/**
 * Stands by until the lease of the slot is free, also while Postgres is away, takes it, and ends
 * whoever still reads the slot. Rejects, without the lease, with the PgstreamError of whatever keeps
 * the slot from being read (see trouble.ts), or `55006` when its reader cannot be ended; with the
 * reason of the signal when that fires.
 */
export async function waitForLease(options: StandByOptions): Promise<Leadership> {
  const periods = { ...usualPeriods, ...options.periods };
  const lease = await new StandBy(options, periods).wait();
  try {
    const position = await clearSlot(lease, options);
    lease.begin(position);
    return { lease, position };
  } catch (error) {
    await lease.release().catch(() => undefined);
    throw error;
  }
}

/**
 * Makes sure that the slot can be read from where the record says. After a crash of the server the
 * slot is where it was at a checkpoint, and the record, which is in the log, further on.
 */
async function clearSlot(
  lease: Lease,
  { connection, slotName, signal }: StandByOptions,
): Promise<Lsn> {
  await lease.ready(signal);
  const session = new ShortConnection({ connection, answerMs: patienceMs, commit: 'local' });
  try {
    const facts = await askSlotFacts(session.ask, slotName);
    const recorded = await readRecord(session.ask, slotName);
    const [trouble] = troublesOf(facts, slotName, { ...recorded, received: 0n });
    if (trouble) throw trouble;
    const position = parseLsn(facts.slot?.confirmed_flush_lsn ?? '0/0');
    const { confirmed } = recorded;
    return confirmed !== null && confirmed > position ? confirmed : position;
  } finally {
    await session.end();
  }
}

class StandBy {
  readonly #options: StandByOptions;
  readonly #periods: Periods;
  readonly #me: Holder = thisHolder();
  readonly #session: ShortConnection;
  /** The heartbeat that was seen last, and since when. */
  #heartbeat: string | undefined;
  #since = 0;

  constructor(options: StandByOptions, periods: Periods) {
    const { connection } = options;
    this.#options = options;
    this.#periods = periods;
    this.#session = new ShortConnection({ connection, answerMs: patienceMs, commit: 'local' });
  }

  async wait(): Promise<Lease> {
    const { signal, log, slotName } = this.#options;
    try {
      for (let isTold = false, wasAway = false; ;) {
        signal.throwIfAborted();
        try {
          const lease = await this.#tryToTake();
          if (lease) return lease;
          wasAway = false;
          if (!isTold) log.info({ slot: slotName }, 'another runner has the slot; standing by');
          isTold = true;
        } catch (error) {
          if (!isAway(error as PgstreamError)) throw error;
          const { message } = error as PgstreamError;
          if (!wasAway) log.warn({ reason: message }, 'Postgres is away; standing by');
          wasAway = true;
        }
        await sleep(this.#periods.pollMs, undefined, { signal });
      }
    } finally {
      await this.#session.end();
    }
  }

  async #tryToTake(): Promise<Lease | undefined> {
    const { ask } = this.#session;
    const { slotName, log } = this.#options;
    const asked = performance.now();
    const row = await readLease(ask, slotName);
    if (row && !this.#vacancyOf(row, asked)) return undefined;
    const taken = await this.#session.transaction(() => this.#take());
    if (!taken) return undefined;
    const { tenure, vacancy, moment } = taken;
    log.info({ slot: slotName, epoch: String(tenure.epoch), vacancy }, 'took the slot over');
    return new Lease(this.#options, this.#periods, tenure, moment);
  }

  /** Within a transaction: whoever held the lease can write nothing from here on. */
  async #take(): Promise<{ tenure: Tenure; vacancy: Vacancy; moment: Moment } | undefined> {
    const { ask } = this.#session;
    const { slotName } = this.#options;
    const row = await this.#lock(ask);
    const vacancy = this.#vacancyOf(row, performance.now());
    if (!vacancy) return undefined;
    const moment = now();
    return { tenure: await beginTenure(ask, slotName, this.#me), vacancy, moment };
  }

  /**
   * Locks the row. A transaction of the old holder may keep it locked, and for ever, when that
   * process was stopped in the middle: such a transaction is ended.
   */
  async #lock(ask: Ask): Promise<LeaseRow> {
    const { connection, slotName } = this.#options;
    const [me] = await ask<{ pid: string }>('select pg_backend_pid()::text as pid');
    const locking = lockLease(ask, slotName);
    locking.catch(() => undefined);
    const helper = new ShortConnection({ connection, answerMs: patienceMs, commit: 'off' });
    try {
      while (!(await isSettled(locking, this.#periods.blockedMs))) {
        await helper.ask(
          `select pg_terminate_backend(pid) from unnest(pg_blocking_pids($1::integer)) pid
           where pid > 0`,
          [me!.pid],
        );
      }
    } finally {
      await helper.end();
    }
    return locking;
  }

  /** `now` must not be later than the moment when the row was read. */
  #vacancyOf({ holder, heartbeat, silentMs }: LeaseRow, asked: number): Vacancy | undefined {
    if (heartbeat !== this.#heartbeat) {
      this.#heartbeat = heartbeat;
      this.#since = performance.now();
    }
    return vacancyOf(
      {
        silentMs: silentMs ?? undefined,
        unchangedMs: asked - this.#since,
        holderIsDead: isKnownDead(holder, this.#me),
      },
      this.#periods.silenceMs,
    );
  }
}

async function isSettled(work: Promise<unknown>, waitMs: number): Promise<boolean> {
  const patience = new AbortController();
  const waited = sleep(waitMs, false, { signal: patience.signal }).catch(() => false);
  try {
    return await Promise.race([
      work.then(
        () => true,
        () => true,
      ),
      waited,
    ]);
  } finally {
    patience.abort();
  }
}
