/**
 * What do other subscriptions and tables cost? Events a second of one table, in batches of 100 to one
 * endpoint, signed, where there are 100 and 10,000 subscriptions of which the others are to a hundred
 * other tables, and where there are 1,000 tables without one; against a single subscription.
 *
 *   npm run bench:many [-- --rows 200000 --rounds 3]
 *
 * Each case has a server and a runner of its own, which are there from the first round to the last, and
 * take turns when all have warmed up. The start-up of the runner is a column of its own.
 */
import { arrivalRate } from './bare.mjs';
import { figure, megabytes, ratio, rounds } from './figures.mjs';
import { now } from './harness.mjs';
import { secret, startStage } from './stage.mjs';

export const title = 'many';
export const about =
  'Events a second of one subscribed table, in batches of 100, signed, beside other subscriptions to other tables, and beside 999 tables without any, against a single subscription. The runners are warm, and take turns. Seconds to streaming: from the start of the process.';
export const full = { rows: 100_000, rounds: 20 };
export const quick = { rows: 60_000, rounds: 9 };

/** Rows that each runner delivers before the first round. */
const warmUp = 60_000;

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
  const runners = {};
  const sides = (events) =>
    Object.fromEntries(
      Object.entries(runners).map(([name, { stage }]) => [
        name,
        async () => arrivalRate(await stage.post(insert(events), events)),
      ]),
    );
  for (const [name, setUp] of Object.entries(cases)) {
    const stage = await startStage(async (sql, url) => {
      await sql`create table t (id integer generated always as identity primary key, name text)`;
      await sql`insert into pgstream.webhook_subscriptions (url, table_name, batch_size, secret)
        values (${`${url}/up`}, 't', 100, ${secret})`;
      await setUp(sql, url);
    });
    const startedAt = now();
    const runner = await stage.run();
    runners[name] = { stage, runner, startUp: (runner.streamingAt - startedAt) / 1000 };
  }
  await rounds(1, sides(warmUp));
  const rates = await rounds(count, sides(rows));

  const [single] = Object.keys(cases);
  const lines = [];
  for (const [name, { stage, runner, startUp }] of Object.entries(runners)) {
    const peak = await runner.end();
    await stage.stop();
    lines.push([
      name,
      figure(rates[name]),
      ratio(rates[name], rates[single]),
      figure([startUp], 1),
      megabytes(peak),
    ]);
  }
  return {
    columns: ['with', 'pgstream', 'ratio to one', 'seconds to streaming', 'peak RSS'],
    lines,
  };
}
