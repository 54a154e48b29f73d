/**
 * What do other subscriptions and tables cost? Events a second of one table, in batches of 100 to one
 * endpoint, signed, where there are 100 and 10,000 subscriptions of which the others are to a hundred
 * other tables, and where there are 1,000 tables without one; against a single subscription.
 *
 *   npm run bench:many [-- --rows 200000 --rounds 3]
 *
 * Each case has a server of its own, and the same rows are written to each. Events a second, from when
 * the runner says that it streams to the last arrival; its start-up is a column of its own.
 */
import { arrivalRate } from './bare.mjs';
import { figure, megabytes, ratio, rounds } from './figures.mjs';
import { now } from './harness.mjs';
import { secret, startStage } from './stage.mjs';

export const title = 'many';
export const about =
  'Events a second of one subscribed table, in batches of 100, signed, of the second half of the rows, beside other subscriptions to other tables, and beside 999 tables without any, against a single subscription. Seconds to streaming: from the start of the process.';
export const full = { rows: 200_000, rounds: 3 };
export const quick = { rows: 60_000, rounds: 2 };

const subscribe = (count) => async (sql, url) => {
  await makeTables(sql, 100);
  await sql`insert into pgstream.webhook_subscriptions (url, table_name, name)
    select ${`${url}/up`}, 'other_' || 1 + n % 100, n from generate_series(1, ${count - 1}::integer) n`;
};

const cases = {
  '1 subscription': subscribe(1),
  '100 subscriptions': subscribe(100),
  '10,000 subscriptions': subscribe(10_000),
  '1,000 tables': (sql) => makeTables(sql, 999),
};

const makeTables = (sql, count) =>
  sql.unsafe(`do $$ begin
    perform set_config('pgstream.skip_log', 'on', true);
    for n in 1..${count} loop
      execute format('create table other_%s (id integer primary key)', n);
    end loop;
  end $$`);

const insert = (rows) => (connection) => connection`
  insert into t (name) select 'name ' || n from generate_series(1, ${rows}::integer) n`;

export async function measure({ rows, rounds: count }) {
  const stages = {};
  const sides = {};
  for (const [name, setUp] of Object.entries(cases)) {
    const stage = (stages[name] = await startStage(async (sql, url) => {
      await sql`create table t (id integer generated always as identity primary key, name text)`;
      await sql`insert into pgstream.webhook_subscriptions (url, table_name, batch_size, secret)
        values (${`${url}/up`}, 't', 100, ${secret})`;
      await setUp(sql, url);
    }));
    sides[name] = async () => {
      const startedAt = now();
      const { streamingAt, peak, ...stats } = await stage.deliver(rows, { warmUp: rows / 2 });
      return { rate: arrivalRate(stats), startUp: (streamingAt - startedAt) / 1000, peak };
    };
  }
  const results = await rounds(count, sides, async () => {
    for (const stage of Object.values(stages)) await stage.write(insert(rows));
  });
  for (const stage of Object.values(stages)) await stage.stop();

  const of = (name, key) => results[name].map((each) => each[key]);
  const [single] = Object.keys(cases);
  return {
    columns: ['with', 'pgstream', 'ratio to one', 'seconds to streaming', 'peak RSS'],
    lines: Object.keys(cases).map((name) => [
      name,
      figure(of(name, 'rate')),
      ratio(of(name, 'rate'), of(single, 'rate')),
      figure(of(name, 'startUp'), 1),
      megabytes(Math.max(...of(name, 'peak'))),
    ]),
  };
}
