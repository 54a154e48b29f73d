/** Connections that write transactions at a steady rate, through every crash of Postgres. */
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { eventually } from '../helpers/poll.js';
import { randomFor } from './random.js';
import { transactionsOf } from './transactions.js';

/** Errors that end a transaction of a writer without being anybody's fault. */
const deadlock = '40P01';

export interface WritersOptions {
  readonly url: string;
  readonly seed: number;
  readonly writers: number;
  /** Changes a second, of all together. */
  readonly rate: number;
  /** So many changes may be on their way; then writers wait. */
  readonly mostBehind: number;
  readonly arrived: () => number;
}

export interface Writers {
  /** Changes that are known to be committed. */
  readonly committed: number;
  /** Ends after the transactions that are under way; throws what a writer failed with. */
  stop(): Promise<void>;
  /** Rejects when a writer fails. */
  readonly failed: Promise<never>;
}

export function startWriters(options: WritersOptions): Writers {
  const { url, seed, writers, rate, mostBehind, arrived } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  let committed = 0;

  async function write(writer: number): Promise<void> {
    const sql = postgres(url, { max: 1, onnotice: () => undefined, fetch_types: false });
    const next = transactionsOf(randomFor(seed, `writer ${writer}`), writer);
    const begun = performance.now();
    let written = 0;
    try {
      while (!signal.aborted) {
        const statements = next();
        const count = await attempt(sql, statements);
        committed += count;
        written += count;
        const early = (written / rate) * writers * 1_000 - (performance.now() - begun);
        if (early > 0) await delay(early, undefined, { signal }).catch(() => undefined);
        // What was not written while there was a reason not to is not made up for.
        if (early < -1_000) written -= (early / 1_000) * (rate / writers);
        await eventually(() => signal.aborted || committed - arrived() < mostBehind, {
          timeout: 600_000,
        });
      }
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  const all = Promise.all(Array.from({ length: writers }, (_, i) => write(i + 1)));
  const failed = all.then(() => new Promise<never>(() => undefined));
  failed.catch(() => undefined);
  return {
    get committed() {
      return committed;
    },
    async stop() {
      stopping.abort();
      await all;
    },
    failed,
  };
}

/** Runs one transaction; returns how many changes it made, 0 when that is not known. */
async function attempt(
  sql: postgres.Sql,
  statements: ReturnType<ReturnType<typeof transactionsOf>>,
): Promise<number> {
  try {
    const results = await sql.unsafe(statements.map((each) => each.sql).join(';'));
    return statements.reduce((sum, { kept }, i) => {
      const { command, count } = results[i] as unknown as { command: string; count: number };
      return kept && command === 'INSERT' ? sum + count : sum;
    }, 0);
  } catch (error) {
    const { severity, code } = error as { severity?: string; code?: string };
    if (severity === 'ERROR' && code !== deadlock) throw error;
    await eventually(() => sql.unsafe('rollback').then(() => true), { timeout: 60_000 });
    return 0;
  }
}
