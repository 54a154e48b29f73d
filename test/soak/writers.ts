/** Connections that write transactions at a steady rate, through every crash of Postgres. */
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { eventually } from '../helpers/poll.js';
import { randomFor } from './random.js';
import { transactionsOf, type Statement } from './transactions.js';

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
    let client = await connect(url);
    const next = transactionsOf(randomFor(seed, `writer ${writer}`), writer);
    const begun = performance.now();
    let written = 0;
    const note = async (count: number) => {
      committed += count;
      written += count;
      const early = (written / rate) * writers * 1_000 - (performance.now() - begun);
      if (early > 0) await delay(early, undefined, { signal }).catch(() => undefined);
      // What was not written while there was a reason not to is not made up for.
      if (early < -1_000) written -= (early / 1_000) * (rate / writers);
      await eventually(() => signal.aborted || committed - arrived() < mostBehind, {
        timeout: 600_000,
      });
    };
    try {
      while (!signal.aborted) {
        const statements = next();
        const count = await attempt(client, statements);
        if (count === undefined) client = await connect(url);
        else await note(count);
      }
    } finally {
      await client.end();
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

/** As soon as Postgres can be reached. */
const connect = (url: string): Promise<pg.Client> =>
  eventually(
    async () => {
      const client = new pg.Client(url);
      // It shows in the next query.
      client.on('error', () => undefined);
      await client.connect();
      return client;
    },
    { timeout: 60_000 },
  );

/** Runs one transaction; returns how many changes it made, undefined if the connection is lost. */
async function attempt(
  client: pg.Client,
  statements: readonly Statement[],
): Promise<number | undefined> {
  let results: pg.QueryResult[];
  try {
    const answer: unknown = await client.query(statements.map(({ sql }) => sql).join(';'));
    results = answer as pg.QueryResult[];
  } catch (error) {
    const { severity, code } = error as { severity?: string; code?: string };
    if (severity !== 'ERROR') return undefined;
    if (code !== deadlock) throw error;
    await client.query('rollback').catch(() => undefined);
    return 0;
  }
  return statements.reduce((sum, { kept }, i) => {
    const { command, rowCount } = results[i]!;
    return kept && command === 'INSERT' ? sum + (rowCount ?? 0) : sum;
  }, 0);
}
