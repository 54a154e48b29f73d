/** Finding changes of schemas that no event trigger has told of. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from 'postgres';
import type { Log } from '../log.js';
import { oneAtATime } from './one-at-a-time.js';

const lockNotAvailable = '55P03';
const retryMs = 1_000;
/** How often all is compared where event triggers tell of changes, unless less often is asked for. */
const followedMs = 5 * 60_000;
/** How long an answer may take: that all tables of a large database are compared. */
export const reconcileMs = 10 * 60_000;

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

export interface ReconcilerOptions {
  readonly sql: Sql;
  /** How often to look where no event trigger tells of changes. */
  readonly everyMs: number;
  /** Repeats the work while Postgres is away, or what it needs is locked. */
  readonly keepTrying: (work: () => Promise<void>) => Promise<void>;
  /** Is told of other errors; what has failed is done again the next time. */
  readonly failed: (error: unknown) => void;
}

/** Calls `pgstream.reconcile()` when asked to and every now and then, until it is closed. */
export class Reconciler {
  /** There may be something to find. */
  readonly now: () => void;
  readonly #timer: NodeJS.Timeout;
  /** When that last succeeded, in milliseconds since the epoch. */
  #comparedAt = 0;

  constructor({ sql, everyMs, keepTrying, failed }: ReconcilerOptions) {
    this.now = oneAtATime(async () => {
      await keepTrying(async () => void (await sql`select from pgstream.reconcile()`));
      this.#comparedAt = Date.now();
    }, failed);
    // Where the question fails, it is asked again.
    const poll = oneAtATime(
      () => this.#poll(sql, everyMs),
      () => undefined,
    );
    this.#timer = setInterval(poll, everyMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #poll(sql: Sql, everyMs: number): Promise<void> {
    const [row] = await sql<{ isFollowed: boolean }[]>`
      select state = 'followed' as "isFollowed"
      from pgstream.status where subject = 'schema changes'`;
    const dueMs = row?.isFollowed ? Math.max(followedMs, everyMs) : 0;
    if (Date.now() - this.#comparedAt >= dueMs) this.now();
  }
}
