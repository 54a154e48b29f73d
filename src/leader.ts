/**
 * One tenure at a slot: read → decode → match → deliver or store → confirm.
 *
 * The slot is read from where it is confirmed. The pipeline decodes what arrives, matches it with
 * the subscriptions of that place in the log, and hands each event to the dispatcher, which delivers
 * it, or stores it in pgstream.webhook_deliveries where the endpoint does not accept it in time.
 * Progress knows up to where all is delivered or stored; the lease puts that on record, and then the
 * slot is told. After a crash everything begins again at the last confirmed commit, behind what is
 * stored.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from 'postgres';
import { Dispatcher } from './delivery/dispatcher.js';
import { createHttpTransport } from './delivery/http.js';
import { Memory } from './delivery/memory.js';
import { Permits } from './delivery/permits.js';
import { DeliveryStore } from './delivery/store.js';
import { exitCode, type PgstreamError } from './errors.js';
import { eventIdPrefix } from './event/webhook-id.js';
import { publications } from './install/publications.js';
import type { Lease } from './lease/lease.js';
import type { Report } from './lease/row.js';
import { waitForLease } from './lease/stand-by.js';
import { serverBehind } from './lease/trouble.js';
import type { Log } from './log.js';
import { Pipeline } from './pipeline.js';
import { SlotFollower } from './replication/follow.js';
import { formatLsn, type Lsn } from './replication/lsn.js';
import { Progress } from './replication/progress.js';
import { readTimelines } from './replication/read-timelines.js';
import { slotError } from './replication/slot-error.js';
import { forkBefore, timelineAt } from './replication/timelines.js';
import type { Measured } from './server/metrics.js';
import type { Settings } from './settings/settings.js';
import { describeTable } from './source/catalog.js';
import { oneAtATime } from './source/one-at-a-time.js';
import { persist } from './source/persist.js';
import { reconcileSchemas, whenFree } from './source/reconcile.js';
import { ackSchemaVersion } from './source/schema-log.js';
import { slotPosition, type Source } from './source/source.js';
import { loadState } from './source/state.js';
import { StatusWriter } from './source/status.js';
import { disableSubscription, latestSubscriptions, markPassed } from './source/subscriptions.js';
import { Transactions } from './source/transactions.js';

export interface LeaderOptions {
  readonly settings: Settings;
  readonly source: Source;
  readonly sql: Sql;
  readonly log: Log;
  /** Ends the tenure: what is under way is finished and confirmed. */
  readonly signal: AbortSignal;
}

/** How long a stop waits for endpoints that have not answered yet. */
const drainMs = 20_000;
/** How often subscriptions are looked up while the log, which else tells of them, is not read. */
const refreshMs = 2_000;
/** How often the state of subscriptions is written. */
const statusMs = 1_000;
/** How often the slot is looked at. */
const troubleMs = 2_000;

/** What keeps a slot from being read until somebody mends it. */
const troubles = new Set([
  'slot_missing',
  'slot_unusable',
  'slot_lost',
  'slot_moved',
  'publication_missing',
  'server_behind',
]);

export class Leader {
  readonly #options: LeaderOptions;
  #follower: SlotFollower | undefined;
  #dispatcher: Dispatcher | undefined;
  #progress: Progress | undefined;
  #problem: PgstreamError | undefined;

  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  get report(): Report {
    const problem = this.#problem && `${this.#problem.message}. ${this.#problem.hint ?? ''}`;
    return {
      // What is on record then is for pgstream init to set.
      confirmed: problem ? undefined : this.#progress?.confirmed,
      state: problem ? 'halted' : (this.#follower?.state ?? 'waiting'),
      problem,
    };
  }

  /** What `GET /status` shows. */
  get status() {
    const { confirmed, state, problem } = this.report;
    return {
      state,
      ...(problem !== undefined && { problem }),
      confirmed: formatLsn(confirmed ?? 0n),
      ...this.#dispatcher?.counts,
    };
  }

  /** What `GET /metrics` shows. */
  get measured(): Measured {
    const confirmed = this.#progress?.confirmed ?? 0n;
    const received = this.#follower?.received ?? 0n;
    return {
      state: this.report.state,
      lagBytes: received > confirmed ? Number(received - confirmed) : 0,
      inFlight: this.#dispatcher?.counts.inFlight ?? 0,
      isHolding: this.#dispatcher?.isHolding ?? false,
      subscriptions: this.#dispatcher?.status() ?? [],
    };
  }

  /** Leaves the slot at once; it is read again as soon as the server can be reached. */
  leaveSlot(): void {
    void this.#follower?.close();
  }

  /**
   * Waits for the slot and works until the signal fires, or until the slot is mended after trouble.
   * Rejects with a PgstreamError on anything that waiting does not mend, `fenced` among them.
   */
  async lead(): Promise<void> {
    const { source, log, signal } = this.#options;
    const { connection, slotName } = source;
    const report = () => this.report;
    const { lease, position } = await waitForLease({ connection, slotName, report, log, signal });
    try {
      await this.#work(lease, position);
    } finally {
      await this.#follower?.close();
      await lease.release().catch((error: unknown) => {
        log.warn({ reason: (error as Error).message }, 'could not release the slot');
      });
    }
  }

  async #work(lease: Lease, position: Lsn): Promise<void> {
    const { settings, source, sql, log, signal } = this.#options;
    const { connection, slotName } = source;
    const explain = (error: unknown) => slotError(error, connection, slotName);
    const failure = new AbortController();
    const fail = (error: unknown) => failure.abort(error);
    const stop = AbortSignal.any([signal, lease.fenced, failure.signal]);
    const ended = new AbortController();
    const keepTrying = <T>(work: () => Promise<T>) => persist(work, { explain, log, signal: stop });
    const openTransactions = () =>
      new Transactions({
        connection,
        fence: (client) =>
          lease.fence(async (text, values) => (await client.query(text, [...values!])).rows),
        keepTrying: (work) =>
          persist(work, { explain, log, signal: ended.signal, patienceMs: 60_000 }),
      });
    const transactions = openTransactions();
    const spilling = openTransactions();
    const transport = createHttpTransport(settings.addresses);
    const timers: NodeJS.Timeout[] = [];
    const every = (ms: number, work: () => void) => timers.push(setInterval(work, ms));

    try {
      const { registry, versions } = await loadState(sql, transactions, slotName, position);
      const progress = (this.#progress = new Progress(position));
      const store = new DeliveryStore({ sql, transactions: spilling, keepTrying, fail });
      const dispatcher = (this.#dispatcher = new Dispatcher(
        await store.open(position, eventIdPrefix(source.system)),
        {
          transport,
          permits: new Permits(),
          store,
          memory: new Memory(settings.maxQueueBytes),
          defaultMaxInFlight: settings.workerCount ?? 32,
          defaultTimeoutMs: settings.clientTimeout,
          maySend: () => lease.isValid,
          disable: (id, reason) => {
            const disable = () => disableSubscription(transactions, id, reason);
            whenFree(disable, { what: 'disable a subscription', log, signal: stop }).catch(
              (error: unknown) => {
                // It is not sent to by this runner all the same.
                if (!stop.aborted) log.error({ subscription: id, err: error }, 'cannot disable');
              },
            );
          },
          fail,
          log,
        },
      ));
      const reconcile = oneAtATime(
        () =>
          whenFree(() => keepTrying(() => reconcileSchemas(sql)), {
            what: 'reconcile the schema log',
            log,
            signal: stop,
          }),
        fail,
      );
      let timelines = await readTimelines(connection);
      const pipeline = new Pipeline({
        system: source.system,
        timelineAt: (lsn) => timelineAt(timelines, lsn),
        progress,
        dispatcher,
        registry,
        versions,
        injectMetadata: settings.injectorStore !== undefined,
        describeTable: (relation, fallback) =>
          keepTrying(() => describeTable(sql, relation, fallback)),
        markPassed: (changes, end) => markPassed(transactions, changes, end),
        ackSchemaVersion: (id) => ackSchemaVersion(transactions, id),
        onDdlError: () => reconcile(),
        fail,
      });
      reconcile();

      const refresh = oneAtATime(async () => {
        for (const { id, change, definition } of await keepTrying(() => latestSubscriptions(sql))) {
          dispatcher.reconfigure(id, change, definition);
        }
      }, fail);
      refresh();
      every(refreshMs, () => {
        if (dispatcher.isFull || dispatcher.isHolding) refresh();
      });
      const listening = await sql.listen(
        'pgstream_replay',
        (id) => dispatcher.replay(Number(id)),
        () => dispatcher.rescan(),
      );
      ended.signal.addEventListener(
        'abort',
        () => void listening.unlisten().catch(() => undefined),
      );
      const status = new StatusWriter(transactions);
      // What cannot be written now is written a second later.
      every(
        statusMs,
        oneAtATime(
          () => status.write(dispatcher.status()),
          () => undefined,
        ),
      );

      const halt = new AbortController();
      const follower = (this.#follower = new SlotFollower({
        connection,
        slot: slotName,
        publications,
        confirmed: () => lease.confirmed,
        resumeAt: () => pipeline.resumeAt,
        slotPosition: () => keepTrying(() => slotPosition(sql, slotName)),
        ready: async (waiting) => {
          await lease.ready(waiting);
          const before = timelines;
          timelines = await readTimelines(connection);
          const read = pipeline.resumeAt;
          const fork = forkBefore(before, timelines, read);
          if (fork !== undefined) throw serverBehind(slotName, fork, read);
          const trouble = await lease.findTrouble(() => read);
          if (trouble) throw trouble;
        },
        onInterrupted: () => pipeline.interrupted(),
        log,
      }));
      // A question that fails says nothing of the slot.
      const look = oneAtATime(async () => {
        const trouble = await lease.findTrouble(() => follower.received).catch(() => undefined);
        if (trouble) halt.abort(trouble);
      }, fail);
      every(troubleMs, look);

      try {
        const reading = AbortSignal.any([stop, halt.signal]);
        for await (const arrivals of follower.batches(reading)) {
          for (const arrival of arrivals) {
            const wait = pipeline.take(arrival);
            if (wait) await wait;
            if (dispatcher.isFull) await dispatcher.room(reading);
          }
        }
      } catch (error) {
        const explained = explain(error);
        // What was interrupted by the end has failed for no other reason.
        if (!stop.aborted && !troubles.has(explained.code)) throw explained;
        halt.abort(explained);
      }
      if (halt.signal.aborted && !stop.aborted) {
        await this.#stayHalted(lease, halt.signal.reason as PgstreamError, stop);
      }
      if (!lease.fenced.aborted && !failure.signal.aborted) {
        await dispatcher.drain(AbortSignal.timeout(drainMs));
        await store.flushed();
        await status.write(dispatcher.status());
        if (!this.#problem) await lease.settle();
      }
      lease.fenced.throwIfAborted();
      failure.signal.throwIfAborted();
    } catch (error) {
      if (!signal.aborted) throw explain(error);
    } finally {
      for (const timer of timers) clearInterval(timer);
      this.#dispatcher?.stop();
      ended.abort();
      await transport.close();
      transactions.close();
      spilling.close();
    }
  }

  /**
   * Says what is wrong, and waits until somebody has mended it; where the server has forgotten what
   * was delivered, until it is told to stop. What was read is delivered meanwhile.
   */
  async #stayHalted(lease: Lease, trouble: PgstreamError, signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    this.#problem = trouble;
    log.error({ code: trouble.code, hint: trouble.hint }, `halted: ${trouble.message}`);
    await this.#follower?.close();
    for (;;) {
      await sleep(troubleMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        const standing = await lease.findStandingTrouble();
        if (standing) this.#problem = standing;
        else if (trouble.code !== 'server_behind') break;
      } catch {
        // A question that fails says nothing of the slot.
      }
    }
    log.warn('the trouble is over; going on from where the slot is');
  }
}

/** Whether somebody has to mend the slot, and reading it can go on then. */
export const isTrouble = ({ code, exitCode: exit }: PgstreamError): boolean =>
  troubles.has(code) || exit === exitCode.cannotConnect;
