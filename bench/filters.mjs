/**
 * What do filters and payloads cost? Events a second of one table, in batches of 100, signed, where
 * each event goes to one endpoint: of one subscription without a filter, of one with a filter or a
 * payload, and of that one of a hundred subscriptions whose filter it matches.
 *
 *   npm run bench:filters [-- --rows 200000 --rounds 3]
 *
 * Each case has a server of its own, and the same rows are written to each. Events a second, from when
 * the runner says that it streams to the last arrival.
 */
import { figure, megabytes, ratio, rounds } from './figures.mjs';
import { secret, startStage } from './stage.mjs';

export const title = 'filters';
export const about =
  'Events a second of one table, in batches of 100, signed, each sent once: by a subscription without a filter, by one with a filter or payload that Postgres evaluates, and by one of a hundred subscriptions with a filter each.';
export const full = { rows: 200_000, rounds: 3 };
export const quick = { rows: 20_000, rounds: 1 };

const subscribe =
  (count, { filter = null, payload = null }) =>
  async (sql, url) => {
    await sql`create table t (id integer generated always as identity primary key, name text)`;
    await sql`
    insert into pgstream.webhook_subscriptions
      (url, schema_name, table_name, name, batch_size, secret, filter, payload)
    select ${`${url}/up`}, 'public', 't', n, 100, ${secret}, replace(${filter}, '<n>', n::text), ${payload}
    from generate_series(0, ${count - 1}::integer) n`;
  };

const cases = {
  'no filter': subscribe(1, {}),
  '1 filter': subscribe(1, { filter: `new.id >= <n> and new.name like 'name%'` }),
  '1 payload': subscribe(1, { payload: `jsonb_build_object('id', new.id, 'name', new.name)` }),
  '100 filters': subscribe(100, { filter: `new.id % 100 = <n> and new.name like 'name%'` }),
};

const insert = (rows) => (connection) => connection`
  insert into t (name) select 'name ' || n from generate_series(1, ${rows}::integer) n`;

export async function measure({ rows, rounds: count }) {
  const stages = {};
  const sides = {};
  for (const [name, setUp] of Object.entries(cases)) {
    const stage = (stages[name] = await startStage(setUp));
    sides[name] = async () => {
      const { ms, peak } = await stage.deliver(rows);
      return { rate: (rows / ms) * 1000, peak };
    };
  }
  const results = await rounds(count, sides, async () => {
    for (const stage of Object.values(stages)) await stage.write(insert(rows));
  });
  for (const stage of Object.values(stages)) await stage.stop();

  const of = (name, key) => results[name].map((each) => each[key]);
  const [plain] = Object.keys(cases);
  return {
    columns: ['with', 'pgstream', 'ratio to none', 'peak RSS'],
    lines: Object.keys(cases).map((name) => [
      name,
      figure(of(name, 'rate')),
      ratio(of(name, 'rate'), of(plain, 'rate')),
      megabytes(Math.max(...of(name, 'peak'))),
    ]),
  };
}
