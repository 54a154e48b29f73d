/** Makes the parts of a tenure. */
import type { Memory } from '../delivery/memory.js';
import { Evaluator } from '../evaluation/evaluator.js';
import { Judge } from '../evaluation/judge.js';
import { refusalOf } from '../evaluation/trust.js';
import { serverBehind } from '../lease/trouble.js';
import type { Pipeline } from '../pipeline.js';
import { SlotFollower } from '../replication/follow.js';
import { readTimelines } from '../replication/read-timelines.js';
import { forkBefore, type Timelines } from '../replication/timelines.js';
import { databaseError } from '../settings/database-error.js';
import { withoutValues } from '../settings/server-error.js';
import { SnapshotWorker, type WorkerOptions } from '../snapshot/worker.js';
import { describeTable } from '../source/catalog.js';
import { persist } from '../source/persist.js';
import { reconcileMs, Reconciler } from '../source/reconcile.js';
import type { SlotReader } from '../source/slot-reader.js';
import { slotPosition } from '../source/source.js';
import { StoreFollower } from '../source/store-follower.js';
import { Transactions } from '../source/transactions.js';
import { whenFree, type Around } from './around.js';

/** How long a transaction of ours may take before its connection counts as lost. */
const transactionMs = 60_000;

/** Each connection of these writes as long as the lease holds. */
export function openTransactions({ source, lease, log, ended, explain }: Around): Transactions {
  return new Transactions({
    connection: source.connection,
    fence: (client) =>
      lease.fence(async (text, values) => (await client.query(text, [...values!])).rows),
    keepTrying: (work) => persist(work, { explain, log, signal: ended, patienceMs: transactionMs }),
  });
}

export function openJudge(around: Around, memory: Memory): Judge {
  const { settings, source, sql, log, stop, keepTrying, fail } = around;
  const connection = settings.evaluator ?? source.connection;
  const open = () =>
    new Evaluator({
      connection,
      keepTrying: (work) =>
        persist(work, {
          explain: (error) => databaseError(error, connection),
          log,
          signal: stop,
        }),
      terminate: (pid) => {
        sql`select pg_terminate_backend(${pid}::integer)`.catch(() => undefined);
      },
    });
  return new Judge({
    evaluators: { main: open(), trouble: open() },
    refusal: async (program) =>
      settings.evaluator ? undefined : keepTrying(() => refusalOf(sql, program)),
    mostBytes: settings.maxQueueBytes / 4,
    reckon: (bytes) => memory.add(bytes),
    onTrouble: ({ id, url }, reason, isInvalid) => {
      const details = { subscription: id, url, reason };
      if (isInvalid) log.error(details, 'expressions of a subscription are not evaluated any more');
      else log.warn(details, 'expressions of a subscription failed for an event');
    },
    fail,
  });
}

export function openReconciler(around: Around): Reconciler {
  const { settings, sql, log, stop, explain } = around;
  const options = { explain, log, signal: stop, patienceMs: reconcileMs };
  return new Reconciler({
    sql,
    everyMs: settings.reconcileInterval,
    keepTrying: (work) =>
      whenFree(around, 'reconcile the schema log', () => persist(work, options)),
    failed: (error) => {
      if (!stop.aborted) log.error({ err: error }, 'cannot reconcile the schema log');
    },
  });
}

export function openFollower(
  { source, sql, lease, log, keepTrying }: Around,
  pipeline: Pipeline,
  timelines: { now: Timelines },
  reader: SlotReader,
): SlotFollower {
  const { connection, slotName } = source;
  return new SlotFollower({
    connection,
    slot: slotName,
    plugin: () => reader.options(),
    confirmed: () => lease.confirmed,
    resumeAt: () => pipeline.resumeAt,
    slotPosition: () => keepTrying(() => slotPosition(sql, slotName)),
    ready: async (signal) => {
      await lease.ready(signal);
      // Before the slot is told anything: is this the log that was read so far?
      const before = timelines.now;
      timelines.now = await readTimelines(connection);
      const read = pipeline.resumeAt;
      const fork = forkBefore(before, timelines.now, read);
      if (fork !== undefined) throw serverBehind(slotName, fork, read);
      const trouble = await lease.findTrouble(() => read);
      if (trouble) throw trouble;
    },
    onInterrupted: () => pipeline.interrupted(),
    log,
  });
}

/** Works at requests for snapshots from now on. */
export function workAtSnapshots(
  { settings, source, sql, lease, log, stop, ended, fail }: Around,
  using: Pick<WorkerOptions, 'transactions' | 'seams' | 'dispatcher' | 'registry'>,
): SnapshotWorker {
  const worker = new SnapshotWorker({
    ...using,
    connection: source.connection,
    plugin: source.plugin,
    system: source.system,
    sql,
    describeTable: (relation, streamedType) => describeTable(sql, relation, streamedType),
    tables: settings.snapshotTables,
    confirmed: () => lease.confirmed,
    explain: (error) => databaseError(withoutValues(error), source.connection),
    log,
    signal: AbortSignal.any([stop, ended]),
  });
  worker.work().catch(fail);
  return worker;
}

export function openStoreFollower(
  { store, sql, settings, log }: Around,
  transactions: Transactions,
): StoreFollower | undefined {
  if (!store) return undefined;
  const refreshMs = settings.storeRefreshInterval;
  return new StoreFollower({
    store,
    source: sql,
    transactions,
    refreshMs,
    log,
  });
}
