/**
 * `pgstream run`: read → decode → match → deliver → confirm.
 *
 * The slot is read from where it is confirmed. The pipeline decodes what arrives, matches it with the
 * subscriptions of that place in the log, and hands each event to the dispatcher, which delivers it.
 * or stores it in pgstream.webhook_deliveries where the endpoint does not accept it in time. Progress
 * knows up to where all is delivered or stored, and that is what the slot is told. After a crash
 * everything begins again at the last confirmed commit, behind what is stored.
 */
import { Dispatcher } from './delivery/dispatcher.js';
import { createHttpTransport } from './delivery/http.js';
import { Memory } from './delivery/memory.js';
import { DeliveryStore } from './delivery/store.js';
import { eventIdPrefix } from './event/webhook-id.js';
import { publications } from './install/publications.js';
import type { Log } from './log.js';
import { Pipeline } from './pipeline.js';
import { SlotFollower } from './replication/follow.js';
import { Progress } from './replication/progress.js';
import { slotError } from './replication/slot-error.js';
import { createRoutes } from './server/routes.js';
import { startServer } from './server/server.js';
import type { Settings } from './settings/settings.js';
import { describeTable } from './source/catalog.js';
import { oneAtATime } from './source/one-at-a-time.js';
import { persist } from './source/persist.js';
import { reconcileSchemas, whenFree } from './source/reconcile.js';
import { ackSchemaVersion } from './source/schema-log.js';
import { freeSlot, openPool, openSingle, openSource, slotPosition } from './source/source.js';
import { loadState } from './source/state.js';
import { StatusWriter } from './source/status.js';
import { disableSubscription, latestSubscriptions, markPassed } from './source/subscriptions.js';
import { Transactions } from './source/transactions.js';
import { createSubscriptionStore } from './subscriptions/store.js';

export interface RunOptions {
  readonly log: Log;
  /** Ends the run: what is under way is finished and confirmed. */
  readonly signal: AbortSignal;
}

/** How long a stop waits for endpoints that have not answered yet. */
const drainMs = 20_000;

/** How often subscriptions are looked up while the log, which else tells of them, is not read. */
const refreshMs = 2_000;

/** How often the state of subscriptions is written. */
const statusMs = 1_000;

/** Runs until the signal fires. Rejects with a PgstreamError on anything that waiting does not mend. */
export async function run(settings: Settings, { log, signal }: RunOptions): Promise<void> {
  const source = await openSource(settings);
  const explain = (error: unknown) => slotError(error, source.connection, source.slotName);
  const failure = new AbortController();
  const fail = (error: unknown) => failure.abort(error);
  const stop = AbortSignal.any([signal, failure.signal]);
  const keepTrying = <T>(work: () => Promise<T>) => persist(work, { explain, log, signal: stop });

  let follower: SlotFollower | undefined;
  let refreshing: NodeJS.Timeout | undefined;
  let writing: NodeJS.Timeout | undefined;
  const sql = openPool(source.connection, () => void follower?.close());
  const transport = createHttpTransport(settings.addresses);
  const ended = new AbortController();
  const transactions = new Transactions(
    () => openSingle(source.connection),
    (work) => persist(work, { explain, log, signal: ended.signal, patienceMs: 60_000 }),
  );
  let dispatcher: Dispatcher | undefined;
  const routes = createRoutes({
    store: createSubscriptionStore(sql),
    status: () => ({
      state: follower?.state ?? 'starting',
      slot: source.slotName,
      ...dispatcher?.counts,
    }),
    explain,
  });
  const server = await startServer(settings.server, routes, log);
  log.info({ url: server.url }, 'the subscription server is listening');

  try {
    const position = await freeSlot(source, { log, signal: stop });
    const { registry, versions } = await loadState(sql, source.slotName, position);
    const progress = new Progress(position);
    const store = new DeliveryStore({
      sql,
      transactions,
      keepTrying,
      fence: () => Promise.resolve(),
      fail,
    });
    const waiting = await store.open(position, eventIdPrefix(source.system));
    const dispatching = new Dispatcher(waiting, {
      transport,
      store,
      memory: new Memory(settings.maxQueueBytes),
      defaultMaxInFlight: settings.workerCount ?? 32,
      defaultTimeoutMs: settings.clientTimeout,
      maySend: () => true,
      disable: (id, reason) => {
        const work = () => keepTrying(() => disableSubscription(sql, id, reason));
        whenFree(work, { what: 'disable a subscription', log, signal: stop }).catch(fail);
      },
      fail,
      log,
    });
    dispatcher = dispatching;
    const reconcile = oneAtATime(
      () =>
        whenFree(() => keepTrying(() => reconcileSchemas(sql)), {
          what: 'reconcile the schema log',
          log,
          signal: stop,
        }),
      fail,
    );
    const pipeline = new Pipeline({
      system: source.system,
      progress,
      dispatcher: dispatching,
      registry,
      versions,
      injectMetadata: settings.injectorStore !== undefined,
      describeTable: (relation, fallback) =>
        keepTrying(() => describeTable(sql, relation, fallback)),
      markPassed: (changes, end) => keepTrying(() => markPassed(sql, changes, end)),
      ackSchemaVersion: (id) => keepTrying(() => ackSchemaVersion(sql, id)),
      onDdlError: () => reconcile(),
      fail,
    });
    reconcile();
    const refresh = oneAtATime(async () => {
      for (const { id, change, definition } of await keepTrying(() => latestSubscriptions(sql))) {
        dispatching.reconfigure(id, change, definition);
      }
    }, fail);
    refresh();
    refreshing = setInterval(() => {
      if (dispatching.isFull || dispatching.isHolding) refresh();
    }, refreshMs);
    const writer = new StatusWriter(sql);
    // What cannot be written now is written a second later.
    const writeStatus = oneAtATime(
      () => writer.write(dispatching.status()),
      () => undefined,
    );
    writing = setInterval(writeStatus, statusMs);
    await sql.listen(
      'pgstream_replay',
      (id) => dispatching.replay(Number(id)),
      () => dispatching.rescan(),
    );

    follower = new SlotFollower({
      connection: source.connection,
      slot: source.slotName,
      publications,
      confirmed: () => progress.confirmed,
      resumeAt: () => pipeline.resumeAt,
      slotPosition: () => keepTrying(() => slotPosition(sql, source.slotName)),
      onInterrupted: () => pipeline.interrupted(),
      log,
    });

    for await (const arrivals of follower.batches(stop)) {
      for (const arrival of arrivals) {
        const wait = pipeline.take(arrival);
        if (wait) await wait;
        if (dispatching.isFull) await dispatching.room(stop);
      }
    }
    await dispatching.drain(AbortSignal.timeout(drainMs));
    await store.flushed();
    await writer.write(dispatching.status());
    failure.signal.throwIfAborted();
  } catch (error) {
    if (!signal.aborted) throw explain(error);
  } finally {
    clearInterval(refreshing);
    clearInterval(writing);
    dispatcher?.stop();
    ended.abort();
    await follower?.close();
    await server.close();
    await transport.close();
    await transactions.close();
    await sql.end({ timeout: 1 });
    log.info('stopped');
  }
}
