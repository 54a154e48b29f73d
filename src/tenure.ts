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
import { setMaxListeners } from 'node:events';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { Dispatcher } from './delivery/dispatcher.js';
import { createHttpTransport, type Transport } from './delivery/http.js';
import { Memory } from './delivery/memory.js';
import { Permits } from './delivery/permits.js';
import { DeliveryStore } from './delivery/store.js';
import { exitCode, type PgstreamError } from './errors.js';
import { sourceOf } from './event/formats.js';
import { eventIdPrefix } from './event/webhook-id.js';
import type { Judge } from './evaluation/judge.js';
import type { Report } from './lease/row.js';
import { Pipeline } from './pipeline.js';
import type { SlotFollower } from './replication/follow.js';
import { formatLsn } from './replication/lsn.js';
import type { Decoder } from './replication/plugin.js';
import { Progress } from './replication/progress.js';
import { readTimelines } from './replication/read-timelines.js';
import { slotError } from './replication/slot-error.js';
import { timelineAt, type Timelines } from './replication/timelines.js';
import { SecretKeeper } from './secrets/keeper.js';
import { withoutValues } from './settings/server-error.js';
import type { Measured } from './server/metrics.js';
import { describeTable } from './source/catalog.js';
import { forgetUnrecorded } from './snapshot/jobs.js';
import { Seams } from './snapshot/seams.js';
import type { SnapshotWorker } from './snapshot/worker.js';
import { ForeignRefresher } from './source/foreign-refresher.js';
import { oneAtATime } from './source/one-at-a-time.js';
import { markPassed } from './source/passed.js';
import { persist } from './source/persist.js';
import type { Reconciler } from './source/reconcile.js';
import { Readmission } from './source/readmission.js';
import { askForRewritten } from './source/rewrites.js';
import { RightsReader } from './source/rights.js';
import { openReader, type SlotReader } from './source/slot-reader.js';
import { loadState, type SourceState } from './source/state.js';
import { StatusWriter } from './source/status.js';
import type { StoreFollower } from './source/store-follower.js';
import { disableSubscription } from './source/subscriptions.js';
import type { Transactions } from './source/transactions.js';
import { whenFree, type Around, type TenureOptions } from './tenure/around.js';
import {
  openFollower,
  openJudge,
  openReconciler,
  openStoreFollower,
  openTransactions,
  workAtSnapshots,
} from './tenure/parts.js';
import { keepUp, troubleMs } from './tenure/upkeep.js';

/** After so many messages of the log, what has come from endpoints has its turn. */
const messagesAtOnce = 64;
/** How long a stop waits for endpoints that have not answered yet. */
const drainMs = 20_000;
/** How long a stop waits for a server that does not answer; what it was to store is still in the log. */
const awayMs = 5_000;
/** What keeps a slot from being read until somebody mends it. */
const troubles = new Set([
  'slot_missing',
  'slot_unusable',
  'slot_lost',
  'slot_moved',
  'publication_missing',
  'server_behind',
]);

export class Tenure {
  readonly #around: Around;
  readonly #failure = new AbortController();
  /** Fires when nothing more is to begin. */
  readonly #stop: AbortSignal;
  /** Fires when reading has to wait for somebody to mend the slot. */
  readonly #halt = new AbortController();
  /** Fires when nothing more is to be read. */
  readonly #reading: AbortSignal;
  /** Fires when nothing more may be written. */
  readonly #ended = new AbortController();
  readonly #progress: Progress;
  readonly #transactions: Transactions;
  /** Apart from the others, so that these do not wait for events that are being stored. */
  readonly #spilling: Transactions;
  readonly #transport: Transport;
  readonly #status: StatusWriter;
  readonly #store: DeliveryStore;
  readonly #rights: RightsReader;
  readonly #readmission: Readmission;
  readonly #secrets: SecretKeeper;
  readonly #memory: Memory;
  readonly #judge: Judge;
  readonly #seams = new Seams();
  #dispatcher: Dispatcher | undefined;
  #follower: SlotFollower | undefined;
  #storeFollower: StoreFollower | undefined;
  #reconciler: Reconciler | undefined;
  #foreign: ForeignRefresher | undefined;
  #snapshots: SnapshotWorker | undefined;
  #problem: PgstreamError | undefined;

  constructor(options: TenureOptions) {
    const { settings, sql, lease, position, signal } = options;
    this.#stop = AbortSignal.any([signal, lease.fenced, this.#failure.signal]);
    this.#reading = AbortSignal.any([this.#stop, this.#halt.signal]);
    setMaxListeners(0, this.#stop, this.#reading, this.#ended.signal);
    this.#around = {
      ...options,
      stop: this.#stop,
      ended: this.#ended.signal,
      explain: this.#explain,
      fail: this.#fail,
      keepTrying: this.#keepTrying,
    };
    this.#progress = new Progress(position);
    this.#transactions = openTransactions(this.#around);
    this.#spilling = openTransactions(this.#around);
    this.#transport = createHttpTransport(settings.addresses);
    this.#status = new StatusWriter(this.#transactions);
    this.#rights = new RightsReader({
      sql,
      keepTrying: this.#keepTrying,
      onWanted: () => this.#readRights(),
    });
    this.#readmission = new Readmission({
      sql,
      transactions: this.#transactions,
      keepTrying: this.#keepTrying,
      rights: this.#rights.rights,
    });
    this.#secrets = new SecretKeeper({
      sql,
      transactions: this.#transactions,
      keepTrying: this.#keepTrying,
      keys: settings.secretKeys,
      onWanted: () => this.#readSecrets(),
      log: options.log,
    });
    this.#memory = new Memory(settings.maxQueueBytes);
    this.#judge = openJudge(this.#around, this.#memory);
    this.#store = new DeliveryStore({
      sql,
      transactions: this.#spilling,
      keepTrying: this.#keepTrying,
      fail: this.#fail,
    });
  }

  get report(): Report {
    const problem = this.#problem && `${this.#problem.message}. ${this.#problem.hint ?? ''}`;
    return {
      // What is on record then is for pgstream init to set.
      confirmed: problem ? undefined : this.#progress.confirmed,
      state: problem ? 'halted' : (this.#follower?.state ?? 'starting'),
      problem,
    };
  }

  /** What `GET /status` shows. */
  get status() {
    const { state, problem } = this.report;
    return {
      state,
      ...(problem !== undefined && { problem }),
      confirmed: formatLsn(this.#progress.confirmed),
      ...this.#dispatcher?.counts,
    };
  }

  /** What `GET /metrics` shows. */
  get measured(): Measured {
    const { confirmed } = this.#progress;
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
  async leaveSlot(): Promise<void> {
    await this.#follower?.close();
  }

  /**
   * Works until the signal fires, or until the slot is mended after trouble. Rejects with a
   * PgstreamError on anything that waiting does not mend, `fenced` among them.
   */
  async work(): Promise<void> {
    const { lease, signal } = this.#around;
    const watch = this.#leaveWhereAway();
    try {
      const { pipeline, dispatcher, follower, reader } = await this.#open();
      await this.#read(follower, pipeline, dispatcher, reader);
      if (this.#halt.signal.aborted && !this.#stop.aborted) await this.#stayHalted();
      if (!lease.fenced.aborted && !this.#failure.signal.aborted) await this.#finish(dispatcher);
      lease.fenced.throwIfAborted();
      this.#failure.signal.throwIfAborted();
    } catch (error) {
      if (!signal.aborted) throw this.#explain(error);
    } finally {
      clearInterval(watch);
      this.#reconciler?.close();
      this.#judge.stop();
      this.#dispatcher?.stop();
      this.#storeFollower?.stop();
      this.#foreign?.stop();
      this.#ended.abort();
      await this.#transport.close();
      this.#transactions.close();
      this.#spilling.close();
    }
  }

  async #open() {
    const { source, sql, position } = this.#around;
    const state = await loadState(sql, this.#transactions, source, position);
    await forgetUnrecorded(this.#transactions, source.system);
    const waiting = await this.#store.open(position, eventIdPrefix(source.system));
    const timelines = { now: await readTimelines(source.connection) };
    await this.#rights.refresh();
    await this.#secrets.sealOld();
    const dispatcher = (this.#dispatcher = this.#openDispatcher(waiting));
    const reader = openReader(source.plugin, { sql, keepTrying: this.#keepTrying, ...state });
    const pipeline = this.#openPipeline(dispatcher, state, timelines, reader);
    const follower = (this.#follower = openFollower(this.#around, pipeline, timelines, reader));
    keepUp(this.#around, {
      dispatcher,
      follower,
      status: this.#status,
      readRights: this.#readRights,
      halt: (trouble) => this.#halt.abort(trouble),
    });
    this.#snapshots = workAtSnapshots(this.#around, {
      transactions: this.#transactions,
      seams: this.#seams,
      dispatcher,
      registry: state.registry,
    });
    this.#storeFollower = openStoreFollower(this.#around, this.#transactions);
    this.#foreign = new ForeignRefresher(source.connection, this.#around.log);
    return { pipeline, dispatcher, follower, reader };
  }

  async #read(
    follower: SlotFollower,
    pipeline: Pipeline,
    dispatcher: Dispatcher,
    reader: SlotReader,
  ): Promise<void> {
    const reading = this.#reading;
    try {
      for await (const { bytes, ends } of follower.batches(reading)) {
        for (let start = 0, i = 0; i < ends.length; start = ends[i++]!) {
          const wait = pipeline.take(bytes, start, ends[i]!);
          if (wait) await wait;
          if (reader.isOutgrown) {
            follower.beginAgain();
            break;
          }
          const room = this.#room(dispatcher);
          if (room) await room;
          else if (i % messagesAtOnce === messagesAtOnce - 1) await setImmediate();
        }
      }
    } catch (error) {
      const explained = this.#explain(error);
      // What was interrupted by the end has failed for no other reason.
      if (!this.#stop.aborted && !troubles.has(explained.code)) throw explained;
      this.#halt.abort(explained);
    }
  }

  /** Resolves when more events can be taken over; undefined where they can. */
  #room(dispatcher: Dispatcher): Promise<void> | undefined {
    if (dispatcher.isFull) return dispatcher.room(this.#reading);
    if (this.#judge.isFull) return this.#judge.room(this.#reading);
    return undefined;
  }

  /** What is under way ends, and is confirmed. */
  async #finish(dispatcher: Dispatcher): Promise<void> {
    this.#judge.stop();
    await dispatcher.drain(AbortSignal.any([AbortSignal.timeout(drainMs), this.#ended.signal]));
    await this.#store.flushed();
    await this.#status.write(dispatcher.status());
    if (this.#problem) return;
    await this.#around.lease.settle();
    await this.#snapshots?.settle();
  }

  /**
   * Ends all writing when we are told to stop and the server has not answered for some time, which the
   * lease knows.
   */
  #leaveWhereAway(): NodeJS.Timeout {
    const { lease, log, signal } = this.#around;
    let answeredAt = performance.now();
    return setInterval(() => {
      if (lease.isValid || !signal.aborted) answeredAt = performance.now();
      if (performance.now() - answeredAt < awayMs || this.#ended.signal.aborted) return;
      log.warn('Postgres is away: what is not stored yet comes again after the next start');
      this.#ended.abort();
      this.#transactions.close();
      this.#spilling.close();
    }, 500);
  }

  /**
   * Says what is wrong, and waits until somebody has mended it; where the server has forgotten what
   * was delivered, until it is told to stop. What was read is delivered meanwhile.
   */
  async #stayHalted(): Promise<void> {
    const { lease, log } = this.#around;
    const trouble = this.#halt.signal.reason as PgstreamError;
    this.#problem = trouble;
    log.error({ code: trouble.code, hint: trouble.hint }, `halted: ${trouble.message}`);
    await this.leaveSlot();
    for (;;) {
      await sleep(troubleMs, undefined, { signal: this.#stop }).catch(() => undefined);
      if (this.#stop.aborted) return;
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

  #openDispatcher(waiting: Map<number, number>): Dispatcher {
    const { settings, source, lease, log } = this.#around;
    return new Dispatcher(waiting, {
      transport: this.#transport,
      permits: new Permits(),
      store: this.#store,
      memory: this.#memory,
      defaultMaxInFlight: settings.workerCount ?? 32,
      defaultTimeoutMs: settings.clientTimeout,
      eventSource: sourceOf(source),
      maySend: () => lease.isValid && this.#rights.isFresh,
      secretOf: (subscription) => this.#secrets.secretOf(subscription),
      rights: this.#rights.rights,
      setAside: () => this.#readmission.expect(),
      disable: (id, reason) => {
        const disable = async () => {
          await this.#storeFollower?.disable(id, reason);
          await disableSubscription(this.#transactions, id, reason);
        };
        whenFree(this.#around, 'disable a subscription', disable).catch((error: unknown) => {
          // It is not sent to by this runner all the same.
          if (!this.#stop.aborted) log.error({ subscription: id, err: error }, 'cannot disable');
        });
      },
      fail: this.#fail,
      log,
    });
  }

  #openPipeline(
    dispatcher: Dispatcher,
    { registry, versions }: SourceState,
    timelines: { now: Timelines },
    decoder: Decoder,
  ): Pipeline {
    const { settings, source, sql } = this.#around;
    const reconciler = (this.#reconciler = openReconciler(this.#around));
    reconciler.now();
    return new Pipeline({
      system: source.system,
      origin: { database: source.database },
      timelineAt: (lsn) => timelineAt(timelines.now, lsn),
      decoder,
      progress: this.#progress,
      dispatcher,
      judge: this.#judge,
      registry,
      rights: this.#rights.rights,
      learnRights: (question) => this.#rights.learn(question),
      versions,
      injectMetadata: settings.injectorStore !== undefined,
      describeTable: (relation, streamedType) =>
        this.#keepTrying(() => describeTable(sql, relation, streamedType)),
      markPassed: (passed, end) => markPassed(this.#transactions, passed, end),
      onRewritten: (rewrites) => askForRewritten(this.#transactions, rewrites),
      onUnlogged: () => reconciler.now(),
      seams: this.#seams,
      room: () => this.#room(dispatcher),
      fail: this.#fail,
    });
  }

  readonly #readRights = oneAtATime(
    async () => {
      await this.#rights.refresh();
      const dispatcher = this.#dispatcher;
      if (!dispatcher) return;
      dispatcher.reconsider();
      await this.#readmission.run(dispatcher);
    },
    (error) => this.#fail(error),
  );

  readonly #readSecrets = oneAtATime(
    async () => {
      const read = await this.#secrets.read();
      for (const id of read) this.#dispatcher?.secretKnown(id);
    },
    (error) => this.#fail(error),
  );

  /** Events pass through our statements: what their errors quote goes no further. */
  readonly #explain = (error: unknown): PgstreamError => {
    const { connection, slotName } = this.#around.source;
    return slotError(withoutValues(error), connection, slotName);
  };

  readonly #fail = (error: unknown): void => this.#failure.abort(error);

  readonly #keepTrying = <T>(work: () => Promise<T>): Promise<T> =>
    persist(work, { explain: this.#explain, log: this.#around.log, signal: this.#stop });
}

/** Whether somebody has to mend the slot, and reading it can go on then. */
export const isTrouble = ({ code, exitCode: exit }: PgstreamError): boolean =>
  troubles.has(code) || exit === exitCode.cannotConnect;
