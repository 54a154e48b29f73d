import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from 'postgres';
import type { Log } from '../log.js';

const lockNotAvailable = '55P03';
const retryMs = 1_000;

/** Brings schema log and publications in step; waits for as long as they are locked. */
export async function reconcileWhenFree(
  reconcile: () => Promise<void>,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      await reconcile();
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== lockNotAvailable) throw error;
      log.warn({ reason: (error as Error).message }, 'cannot reconcile the schema log yet');
      await sleep(retryMs, undefined, { signal });
    }
  }
}

/** Reconciles now; fails with 55P03 where a log or the publications are locked. */
export async function reconcileSchemas(sql: Sql): Promise<void> {
  await sql`
    select r.schema_name
    from (select from pgstream.ddl_error where reconciled_at is null limit 1) e,
      pgstream.reconcile() r`;
}
