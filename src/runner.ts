/**
 * `pgstream run`: serves HTTP, stands by until the slot is free, and leads (see leader.ts), again
 * and again until it is told to stop.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Leader, isTrouble } from './leader.js';
import type { Log } from './log.js';
import { slotError } from './replication/slot-error.js';
import { createRoutes } from './server/routes.js';
import { startServer } from './server/server.js';
import type { Settings } from './settings/settings.js';
import { openPool, openSource } from './source/source.js';
import { createSubscriptionStore } from './subscriptions/store.js';

export interface RunOptions {
  readonly log: Log;
  /** Ends the run: what is under way is finished and confirmed. */
  readonly signal: AbortSignal;
}

/** How long to wait before a slot that was in trouble is tried again. */
const retryMs = 5_000;

const nothing = { lagBytes: 0, inFlight: 0, isHolding: false, subscriptions: [] };

/** Runs until the signal fires. Rejects with a PgstreamError on anything that waiting does not mend. */
export async function run(settings: Settings, { log, signal }: RunOptions): Promise<void> {
  const source = await openSource(settings);
  const explain = (error: unknown) => slotError(error, source.connection, source.slotName);
  let leader: Leader | undefined;
  let problem: string | undefined;
  const sql = openPool(source.connection, () => leader?.leaveSlot());
  const routes = createRoutes({
    store: createSubscriptionStore(sql),
    status: () => ({
      state: problem ? 'halted' : 'waiting',
      ...(problem && { problem }),
      ...leader?.status,
      slot: source.slotName,
    }),
    measure: () => leader?.measured ?? { ...nothing, state: problem ? 'halted' : 'waiting' },
    explain,
  });
  const server = await startServer(settings.server, routes, log);
  log.info({ url: server.url }, 'the subscription server is listening');

  try {
    for (let tenures = 0; !signal.aborted; tenures++) {
      leader = new Leader({ settings, source, sql, log, signal });
      try {
        await leader.lead();
        problem = undefined;
      } catch (error) {
        if (signal.aborted) break;
        const explained = explain(error);
        if (explained.code === 'fenced') {
          log.warn({ reason: explained.message }, 'standing by');
        } else if (tenures > 0 && isTrouble(explained)) {
          problem = `${explained.message}. ${explained.hint ?? ''}`;
          leader = undefined;
          log.error({ code: explained.code, hint: explained.hint }, `halted: ${explained.message}`);
          await sleep(retryMs, undefined, { signal }).catch(() => undefined);
        } else {
          throw explained;
        }
      }
    }
  } finally {
    await server.close();
    await sql.end({ timeout: 1 });
    log.info('stopped');
  }
}
