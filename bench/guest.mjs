/**
 * What do we cost others? Milliseconds of DDL and of one change of a subscription, beside so many
 * published tables, against the same DDL in a database without us.
 *
 *   npm run bench:guest [-- --rounds 10]
 */
import postgres from 'postgres';
import { figure, rounds } from './figures.mjs';
import { pgstream, startDatabase } from './harness.mjs';

export const title = 'guest';
export const about =
  'Milliseconds that one statement takes beside so many published tables, against the same in a database without pgstream. No runner is running.';
export const full = { tables: [1000, 10_000], rounds: 10 };
export const quick = { tables: [1000], rounds: 3 };

const ddl = {
  'create table': 'create table made (id int primary key)',
  'drop table': 'drop table made',
  'create index': 'create index made on t1 (n)',
  'drop index': 'drop index made',
};
const subscription = {
  subscribe: `insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
    values ('http://localhost/one', 'public', 't1')`,
  'change a subscription': `update pgstream.webhook_subscriptions set event_types = '{I}'
    where url = 'http://localhost/one'`,
  unsubscribe: `delete from pgstream.webhook_subscriptions where url = 'http://localhost/one'`,
};

export async function measure({ tables, rounds: count }) {
  const lines = [];
  // one transaction publishes them all
  const database = await startDatabase({ max_locks_per_transaction: 1024 });
  await database.sql`create database bare`;
  const url = new URL(database.url);
  url.pathname = '/bare';
  const bare = postgres(url.href, { max: 1, onnotice: () => undefined });
  await pgstream(database, 'init');
  let made = 0;
  for (const most of tables) {
    await database.sql`select pgstream.disable_ddl_capture(upkeep => true)`;
    for (const sql of [database.sql, bare]) await makeTables(sql, made + 1, most);
    made = most;
    await database.sql`select from pgstream.enable_ddl_capture()`;
    await database.sql`
      insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
      values ('http://localhost/all', 'public', 't*') on conflict do nothing`;
    for (const sql of [database.sql, bare]) await sql`analyze`;
    const [{ published }] = await database.sql`
      select count(*)::integer as published from pg_publication_tables
      where pubname = 'pgstream_update'`;
    if (published !== most) throw new Error(`${published} of ${most} tables are published`);

    const { ours, without } = await rounds(count, {
      ours: () => run(database.sql, { ...ddl, ...subscription }),
      without: () => run(bare, ddl),
    });
    for (const name of Object.keys({ ...ddl, ...subscription })) {
      const of = (all) => all.map((each) => each[name] ?? 0);
      const more = of(ours).map((ms, round) => ms - of(without)[round]);
      lines.push([
        name,
        most.toLocaleString('en'),
        figure(of(ours), 1),
        name in ddl ? figure(of(without), 1) : '',
        figure(more, 1),
      ]);
    }
  }
  await bare.end();
  await database.stop();
  return { columns: ['statement', 'tables', 'ms', 'ms without us', 'ms more'], lines };
}

/** Each statement once, on one connection; their milliseconds by name. */
async function run(pool, statements) {
  const connection = await pool.reserve();
  const took = {};
  for (const [name, statement] of Object.entries(statements)) {
    const start = performance.now();
    await connection.unsafe(statement);
    took[name] = performance.now() - start;
  }
  connection.release();
  return took;
}

async function makeTables(sql, first, last) {
  for (let from = first; from <= last; from += 1000) {
    await sql.unsafe(`do $$ begin
      for i in ${from}..${Math.min(from + 999, last)} loop
        execute format('create table t%s (id int primary key, n int)', i);
      end loop;
    end $$`);
  }
}
