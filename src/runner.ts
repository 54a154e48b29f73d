/**
 * `pgstream run`: serves HTTP, stands by until the slot is free, and works at it (see tenure.ts),
 * again and again until it is told to stop.
 */
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSecrets } from './delivery/signature.js';
import { waitForLease } from './lease/stand-by.js';
import type { Log } from './log.js';
import { slotError } from './replication/slot-error.js';
import { seal } from './secrets/seal.js';
import { createRoutes } from './server/routes.js';
import { startServer } from './server/server.js';
import type { Settings } from './settings/settings.js';
import { openPool, openServingPool, openSource } from './source/source.js';
import type { SubscriptionKey } from './subscriptions/request.js';
import { createSubscriptionStore } from './subscriptions/store.js';
import { isTrouble, Tenure } from './tenure.js';

export interface RunOptions {
  readonly log: Log;
  /** Ends the run: what is under way is finished and confirmed. */
  readonly signal: AbortSignal;
}

/** How long to wait before a slot that was in trouble is tried again. */
const retryMs = 5_000;

/** Seals the secrets of subscriptions that the role is to own, where there is a key. */
const sealAs =
  (owner: string, { secretKeys: [key] }: Settings) =>
  (secret: string, { url, schema_name: schema, table_name: table, name }: SubscriptionKey) =>
    // What is no secret, or a weak one, is for SQL to refuse.
    key && isSecrets(secret)
      ? seal(key, { owner, url, schema, table, name }, secret.trim(), randomBytes(12))
      : secret;

const nothing = { lagBytes: 0, inFlight: 0, isHolding: false, subscriptions: [] };

/** Runs until the signal fires. Rejects with a PgstreamError on anything that waiting does not mend. */
export async function run(settings: Settings, { log, signal }: RunOptions): Promise<void> {
  setMaxListeners(0, signal);
  const source = await openSource(settings);
  const { connection, slotName } = source;
  let tenure: Tenure | undefined;
  let problem: string | undefined;
  const waiting = () => ({
    state: problem ? ('halted' as const) : ('waiting' as const),
    ...(problem && { problem }),
  });
  const sql = openPool(connection, () => void tenure?.leaveSlot());
  const store = source.store && openPool(source.store);
  const serving = openServingPool(source.store ?? connection);
  const explain = (error: unknown) => slotError(error, connection, slotName);
  const routes = createRoutes({
    store: createSubscriptionStore(serving, sealAs((source.store ?? connection).user, settings)),
    status: () => ({ slot: slotName, ...(tenure?.status ?? waiting()) }),
    measure: () => tenure?.measured ?? { ...nothing, ...waiting() },
    explain: (error) => slotError(error, source.store ?? connection, slotName),
  });
  const server = await startServer(settings.server, routes, log);
  log.info({ url: server.url }, 'the subscription server is listening');

  const serve = async () => {
    const report = () => tenure?.report ?? { confirmed: undefined, state: 'starting' as const };
    const { lease, position } = await waitForLease({ connection, slotName, report, log, signal });
    problem = undefined;
    tenure = new Tenure({ settings, source, sql, store, log, lease, position, signal });
    try {
      await tenure.work();
    } finally {
      await tenure.leaveSlot();
      await lease.release().catch((error: unknown) => {
        log.warn({ reason: (error as Error).message }, 'could not release the slot');
      });
      tenure = undefined;
    }
  };

  try {
    for (let tenures = 0; !signal.aborted; tenures++) {
      try {
        await serve();
      } catch (error) {
        if (signal.aborted) break;
        const explained = explain(error);
        const { code, message, hint } = explained;
        if (code === 'fenced') {
          log.warn({ reason: message }, 'standing by');
        } else if (tenures > 0 && isTrouble(explained)) {
          problem = `${message}. ${hint ?? ''}`;
          log.error({ code, hint }, `halted: ${message}`);
          await sleep(retryMs, undefined, { signal }).catch(() => undefined);
        } else {
          throw explained;
        }
      }
    }
  } finally {
    await server.close();
    await Promise.all([
      sql.end({ timeout: 1 }),
      store?.end({ timeout: 1 }),
      serving.end({ timeout: 1 }),
    ]);
    log.info('stopped');
  }
}
