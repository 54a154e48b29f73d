/**
 * How much memory does the runner take where there is much of something? The most that was ever
 * resident, against a runner that has had nothing to do.
 *
 *   npm run bench:memory [-- --rows 1000000 --rounds 1]
 */
import { median, megabytes, ratio, rounds } from './figures.mjs';
import { until } from './harness.mjs';
import { startStage } from './stage.mjs';

export const title = 'memory';
export const about =
  'Peak RSS of a runner in megabytes, against one that has had nothing to do: one transaction to an endpoint that answers, in batches of 100; the same to one that never answers, one request an event; 10,000 subscriptions to one table; rows of 100 MB between small ones.';
export const full = { rows: 1_000_000, rounds: 1 };
export const quick = { rows: 200_000, rounds: 1 };

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
    write: insert,
    work: async ({ receiver, sql }, rows) => {
      await receiver.set({ status: 0 });
      await until(async () => {
        const [{ count }] = await sql`select count(*)::integer from pgstream.webhook_deliveries`;
        return count === rows;
      });
    },
  },
  '10,000 subscriptions': {
    setUp: (sql, url) => sql`
      insert into pgstream.webhook_subscriptions (url, table_name)
      select ${`${url}/up/`} || n, 't' from generate_series(1, 10000) n`,
    write: (sql) => insert(sql, 5),
    work: ({ receiver }) => receiver.stats(50_000),
  },
  'rows of 100 MB': {
    setUp: (sql, url) => subscribe(sql, `${url}/up`, { timeout: '1 min' }),
    write: async (sql) => {
      for (let id = 1; id <= 6; id += 2) {
        await sql`insert into t values (${id}, repeat('x', 100000000)), (${id + 1}, 'small')`;
      }
    },
    work: ({ receiver }) => receiver.stats(6),
  },
};

export async function measure({ rows, rounds: count }) {
  const lines = [];
  for (const [name, { setUp, write, work }] of Object.entries(cases)) {
    const { ours, idle } = await rounds(count, {
      async ours() {
        const stage = await open(setUp);
        await stage.write((sql) => write(sql, rows));
        await stage.receiver.set();
        const { peak } = await stage.withRunner(() => work(stage, rows));
        await stage.stop();
        return peak;
      },
      async idle() {
        const stage = await open(() => undefined);
        const { peak } = await stage.withRunner(() => undefined);
        await stage.stop();
        return peak;
      },
    });
    lines.push([name, megabytes(median(ours)), megabytes(median(idle)), ratio(ours, idle)]);
  }
  return { columns: ['case', 'pgstream', 'idle', 'ratio'], lines };
}

const open = (setUp) =>
  startStage(async (sql, url) => {
    await sql`create table t (id integer primary key, note text)`;
    await setUp(sql, url);
  });
