import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from 'postgres';
import type { Log } from '../log.js';

const lockNotAvailable = '55P03';
const retryMs = 1_000;

/** Does the work, again and again for as long as what it needs is locked. */
export async function whenFree(
  work: () => Promise<void>,
  { what, log, signal }: { readonly what: string; readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== lockNotAvailable) throw error;
      log.warn({ reason: (error as Error).message }, `cannot ${what} yet`);
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
