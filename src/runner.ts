/**
 * `pgstream run`: read → decode → match → deliver → confirm.
 *
 * The slot is read from where it is confirmed. The pipeline decodes what arrives, matches it with the
 * subscriptions of that place in the log, and hands each event to the dispatcher, which delivers it.
 * Progress knows up to where all is delivered, and that is what the slot is told. Nothing is kept
 * elsewhere: after a crash everything begins again at the last confirmed commit.
 */
import { Dispatcher } from './delivery/dispatcher.js';
import { createHttpTransport } from './delivery/http.js';
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
import { reconcileSchemas, reconcileWhenFree } from './source/reconcile.js';
import { ackSchemaVersion } from './source/schema-log.js';
import { freeSlot, openPool, openSource, slotPosition } from './source/source.js';
import { loadState } from './source/state.js';
import { latestSubscriptions, markPassed } from './source/subscriptions.js';
import { createSubscriptionStore } from './subscriptions/store.js';

export interface RunOptions {
  readonly log: Log;
  /** Ends the run: what is under way is finished and confirmed. */
  readonly signal: AbortSignal;
}

/** How long a stop waits for endpoints that have not answered yet. */
const drainMs = 20_000;

/** How often subscriptions are looked up while events of theirs are not accepted. */
const refreshMs = 2_000;

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
  const sql = openPool(source.connection, () => void follower?.close());
  const transport = createHttpTransport(settings.addresses);
  const dispatcher = new Dispatcher({
    transport,
    defaultMaxInFlight: settings.workerCount ?? 32,
    defaultTimeoutMs: settings.clientTimeout,
    maxQueueBytes: settings.maxQueueBytes,
    log,
  });
  const routes = createRoutes({
    store: createSubscriptionStore(sql),
    status: () => ({
      state: follower?.state ?? 'starting',
      slot: source.slotName,
      ...dispatcher.counts,
    }),
    explain,
  });
  const server = await startServer(settings.server, routes, log);
  log.info({ url: server.url }, 'the subscription server is listening');

  try {
    const position = await freeSlot(source, { log, signal: stop });
    const { registry, versions } = await loadState(sql, source.slotName, position);
    const progress = new Progress(position);
    const reconcile = oneAtATime(
      () => reconcileWhenFree(() => keepTrying(() => reconcileSchemas(sql)), log, stop),
      fail,
    );
    const pipeline = new Pipeline({
      system: source.system,
      progress,
      dispatcher,
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
      for (const { id, definition } of await keepTrying(() => latestSubscriptions(sql))) {
        dispatcher.reconfigure(id, definition);
      }
    }, fail);
    await sql.listen('pgstream_subscriptions', refresh, refresh);
    // A notification can be lost with its connection; it matters to events that wait.
    refreshing = setInterval(() => dispatcher.counts.failing > 0 && refresh(), refreshMs);

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
        if (dispatcher.isFull) await dispatcher.room(stop);
      }
    }
    await dispatcher.drain(AbortSignal.timeout(drainMs));
    failure.signal.throwIfAborted();
  } catch (error) {
    if (!signal.aborted) throw explain(error);
  } finally {
    clearInterval(refreshing);
    await follower?.close();
    await server.close();
    await transport.close();
    await sql.end({ timeout: 1 });
    log.info('stopped');
  }
}
