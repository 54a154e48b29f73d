/**
 * Works at the requests for snapshots: one chunk at a time among all of them, by turns, each with
 * pauses, so that it takes no more than its share of the time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from 'postgres';
import type { Dispatcher } from '../delivery/dispatcher.js';
import type { PgstreamError } from '../errors.js';
import type { Log } from '../log.js';
import type { Lsn } from '../replication/lsn.js';
import type { OutputPlugin } from '../replication/plugin.js';
import type { Connection } from '../settings/connection.js';
import type { SnapshotTables } from '../settings/snapshot-tables.js';
import { isAway } from '../source/persist.js';
import type { Transactions } from '../source/transactions.js';
import type { Registry } from '../subscriptions/registry.js';
import {
  noteState,
  notePosition,
  noteStart,
  openJobs,
  requestOnce,
  type Job,
  type State,
} from './jobs.js';
import { obstacleTo } from './obstacle.js';
import { Reader } from './reader.js';
import { TableRun, type RunOptions } from './table-run.js';

export interface WorkerOptions extends Omit<RunOptions, 'reader' | 'onStart'> {
  readonly connection: Connection;
  /** Of the slot. */
  readonly plugin: OutputPlugin;
  readonly transactions: Transactions;
  readonly dispatcher: Dispatcher;
  readonly registry: Registry;
  /** Where the slot is confirmed up to, on record. */
  readonly confirmed: () => Lsn;
  /** What the settings ask for. */
  readonly tables: readonly SnapshotTables[];
  readonly explain: (error: unknown) => PgstreamError;
  readonly sql: Sql;
  readonly log: Log;
}

/** How often it is looked whether something waits, and whether what it waits for is over. */
const lookMs = 1_000;
const soonMs = 100;

/** Too little of something, a lock among it, or somebody has intervened: it may be otherwise soon. */
const passing = /^(53|55|57)...$/;

interface Turn {
  job: Job;
  readonly run: TableRun;
  state: State;
  reason: string | null;
}

const keyOf = ({ request, oid }: Job) => `${request} ${oid}`;

export class SnapshotWorker {
  readonly #options: WorkerOptions;
  readonly #reader: Reader;
  readonly #turns = new Map<string, Turn>();
  /** When a request may go on, in milliseconds of a clock that does not go back. */
  readonly #restUntil = new Map<number, number>();
  readonly #wanted: SnapshotTables[];
  #last: Job | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#reader = new Reader(options.connection, options.plugin);
    this.#wanted = [...options.tables];
  }

  /** Works until the signal fires. */
  async work(): Promise<void> {
    const { signal, explain, log } = this.#options;
    while (!signal.aborted) {
      let pauseMs = lookMs;
      try {
        await this.#request();
        pauseMs = await this.#workOnce();
      } catch (error) {
        if (signal.aborted) break;
        const { message: reason } = explain(error);
        log.warn({ reason }, 'cannot work at snapshots; trying again');
      }
      await this.#pause(pauseMs);
    }
    for (const { run } of this.#turns.values()) await run.close().catch(() => undefined);
    await this.#reader.close();
  }

  /** Writes down what has been delivered, at an orderly end. */
  async settle(): Promise<void> {
    for (const turn of this.#turns.values()) await this.#record(turn);
  }

  /** Asks for what the settings say; that of a schema once, whether it can be had or not. */
  async #request(): Promise<void> {
    const { sql, explain, log } = this.#options;
    for (let [wanted] = this.#wanted; wanted; [wanted] = this.#wanted) {
      try {
        await requestOnce(sql, wanted);
      } catch (error) {
        const explained = explain(error);
        if (isAway(explained)) throw error;
        const { message: reason, hint } = explained;
        log.error({ ...wanted, reason, hint }, 'cannot take the snapshot of the settings');
      }
      this.#wanted.shift();
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms > 0) {
      await sleep(ms, undefined, { signal: this.#options.signal }).catch(() => undefined);
    }
  }

  /** Resolves to when to look again, in milliseconds. */
  async #workOnce(): Promise<number> {
    const jobs = await openJobs(this.#options.sql);
    await this.#forgetOthers(jobs);
    if (jobs.length === 0) {
      await this.#reader.close();
      return lookMs;
    }
    let pauseMs = lookMs;
    for (const job of this.#inTurn(jobs)) {
      const turn = this.#turnOf(job);
      await this.#record(turn);
      if (turn.run.isRead) {
        pauseMs = soonMs;
        continue;
      }
      const restMs = (this.#restUntil.get(job.request) ?? 0) - performance.now();
      if (restMs > 0) {
        pauseMs = Math.min(pauseMs, restMs);
        continue;
      }
      if (await this.#isReady(job, turn)) {
        this.#last = job;
        return (await this.#chunk(job, turn)) ? 0 : lookMs;
      }
      if (turn.state === 'starting') pauseMs = Math.min(pauseMs, soonMs);
    }
    return pauseMs;
  }

  /** The first table of each request that is not read, beginning behind the one that was last. */
  #inTurn(jobs: readonly Job[]): Job[] {
    const first = new Map<number, Job>();
    const read: Job[] = [];
    for (const job of jobs) {
      if (this.#turns.get(keyOf(job))?.run.isRead) read.push(job);
      else if (!first.has(job.request)) first.set(job.request, job);
    }
    const waiting = [...first.values()];
    const isLater = ({ request }: Job) => request > (this.#last?.request ?? 0);
    return [...read, ...waiting.filter(isLater), ...waiting.filter((job) => !isLater(job))];
  }

  #turnOf(job: Job): Turn {
    const known = this.#turns.get(keyOf(job));
    if (known) {
      known.job = known.run.job = job;
      return known;
    }
    const { transactions, log } = this.#options;
    const run = new TableRun(job, {
      ...this.#options,
      reader: this.#reader,
      onStart: (expectedRows, passes) => {
        const { request, schema, table } = job;
        const details = { request, table: `${schema}.${table}` };
        if (passes > 0) {
          log.warn(details, 'a table without a usable key is read in one transaction');
        } else log.info(details, 'reading a table for a snapshot');
        return noteStart(transactions, job, expectedRows, passes);
      },
    });
    const turn = { job, run, state: job.state, reason: job.reason };
    this.#turns.set(keyOf(job), turn);
    return turn;
  }

  async #forgetOthers(jobs: readonly Job[]): Promise<void> {
    const requests = new Set(jobs.map(({ request }) => request));
    for (const id of this.#restUntil.keys()) if (!requests.has(id)) this.#restUntil.delete(id);
    const open = new Set(jobs.map(keyOf));
    for (const [key, { run }] of this.#turns) {
      if (open.has(key)) continue;
      this.#turns.delete(key);
      await run.close();
    }
  }

  async #isReady(job: Job, turn: Turn): Promise<boolean> {
    const { dispatcher, registry, sql } = this.#options;
    if (job.paused) return this.#hold(job, turn, 'paused', null);
    const obstacle = await obstacleTo(job, { dispatcher, registry, sql });
    if (obstacle?.isForGood) {
      await this.#tell(job, turn, 'done', obstacle.reason);
      return false;
    }
    if (obstacle) return this.#hold(job, turn, 'waiting', obstacle.reason);
    const reason = await turn.run.begin();
    if (reason === undefined) return true;
    await this.#tell(job, turn, 'starting', reason);
    return false;
  }

  async #hold(job: Job, turn: Turn, state: State, reason: string | null): Promise<false> {
    turn.run.rest();
    await this.#tell(job, turn, state, reason);
    return false;
  }

  /** Resolves to whether it can go on at once. */
  async #chunk(job: Job, turn: Turn): Promise<boolean> {
    const { explain, signal } = this.#options;
    await this.#tell(job, turn, 'running', null);
    const before = performance.now();
    try {
      await turn.run.advance();
    } catch (error) {
      if (signal.aborted) return false;
      turn.run.rest();
      const explained = explain(error);
      if (isAway(explained)) throw error;
      const { code, message, hint } = explained;
      if (passing.test(code)) await this.#tell(job, turn, 'waiting', message);
      else await this.#tell(job, turn, 'failed', hint ? `${message}. ${hint}` : message);
      return false;
    }
    const now = performance.now();
    this.#restUntil.set(job.request, now + (now - before) * (1 / job.share - 1));
    return true;
  }

  /** Writes down what the slot is confirmed beyond. */
  async #record(turn: Turn): Promise<void> {
    const { transactions, confirmed } = this.#options;
    const { job, run } = turn;
    const placed = run.recordable(confirmed());
    if (placed) {
      const { position, lsn } = placed;
      await notePosition(transactions, job, position, position.cursor && lsn);
      run.recorded(placed);
    }
    if (run.end) await this.#tell(job, turn, 'done', run.end.reason);
  }

  async #tell(job: Job, turn: Turn, state: State, reason: string | null): Promise<void> {
    if (turn.state === state && turn.reason === reason) return;
    const { transactions, log } = this.#options;
    await noteState(transactions, job, state, reason);
    turn.state = state;
    turn.reason = reason;
    const { request, schema, table } = job;
    const details = { request, table: `${schema}.${table}`, ...(reason !== null && { reason }) };
    if (state === 'failed') log.error(details, 'a snapshot has failed');
    else if (state === 'waiting') log.warn(details, 'a snapshot waits');
    else log.info(details, `a snapshot is ${state}`);
  }
}
