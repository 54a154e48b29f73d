/**
 * How much memory does the runner take where there is much of something? The most that was ever
 * resident, against a runner that has had nothing to do.
 *
 *   npm run bench:memory [-- --rows 1000000 --rounds 1]
 */
import { median, megabytes, ratio, rounds } from './figures.mjs';
import { startRunner, until } from './harness.mjs';
import { startStage } from './stage.mjs';

export const title = 'memory';
export const about =
  'Peak RSS of a runner in megabytes, against one that has had nothing to do: one transaction to an endpoint that answers, in batches of 100; a quarter of it to one that never answers, one request an event; 10,000 subscriptions to one table; rows of 100 MB between small ones.';
export const full = { rows: 1_000_000, rounds: 1 };
export const quick = { rows: 30_000, rounds: 1 };

const subscribe = (sql, url, settings = {}) =>
  sql`insert into pgstream.webhook_subscriptions ${sql({ url, table_name: 't', ...settings })}`;

const insert = (sql, rows) =>
  sql`insert into t select n, 'note ' || n from generate_series(1, ${rows}::integer) n`;

/** What is set up while the runner runs, and what it then has to do from its start on. */
const cases = {
  'one large transaction': {
    setUp: (sql, url) => subscribe(sql, `${url}/up`, { batch_size: 100 }),
    write: insert,
    work: ({ receiver }, rows) => receiver.stats(rows),
  },
  'an endpoint that never answers': {
    setUp: (sql, url) => subscribe(sql, `${url}/down`),
    write: (sql, rows) => insert(sql, rows / 4),
    work: async ({ receiver, sql }, rows) => {
      await receiver.set({ status: 0 });
      await until(async () => {
        const [{ count }] = await sql`select count(*)::integer from pgstream.webhook_deliveries`;
        return count === rows / 4;
      });
    },
  },
  '10,000 subscriptions': {
    setUp: (sql, url) => sql`
      insert into pgstream.webhook_subscriptions (url, table_name)
      select ${`${url}/up/`} || n, 't' from generate_series(1, 10000) n`,
    write: (sql) => insert(sql, 3),
    work: ({ receiver }) => receiver.stats(30_000),
  },
  'rows of 100 MB': {
    setUp: (sql, url) => subscribe(sql, `${url}/up`, { timeout: '1 min' }),
    write: async (sql) => {
      for (let id = 1; id <= 4; id += 2) {
        await sql`insert into t values (${id}, repeat('x', 100000000)), (${id + 1}, 'small')`;
      }
    },
    work: ({ receiver }) => receiver.stats(4),
  },
};

export async function measure({ rows, rounds: count }) {
  const sides = { idle: () => peak({ setUp: () => undefined, work: () => undefined }) };
  for (const [name, each] of Object.entries(cases)) sides[name] = () => peak(each, rows);
  const results = await rounds(count, sides);
  return {
    columns: ['case', 'peak RSS', 'ratio to idle'],
    lines: Object.entries(results).map(([name, all]) => [
      name,
      megabytes(median(all)),
      ratio(all, results.idle),
    ]),
  };
}

async function peak({ setUp, write, work }, rows) {
  const stage = await startStage(async (sql, url) => {
    await sql`create table t (id integer primary key, note text)`;
    await setUp(sql, url);
  });
  if (write) await stage.write((sql) => write(sql, rows));
  await stage.receiver.set();
  const runner = await startRunner(stage.database);
  await work(stage, rows);
  const bytes = runner.peakMemory();
  await runner.stop('SIGKILL');
  await stage.stop();
  return bytes;
}
