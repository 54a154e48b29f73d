/** What compares the values of a key, and what reads them. */
import postgres from 'postgres';
import { beforeAll, expect, test, afterAll } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { confirmed } from '../helpers/items.js';
import { startReceiver, type Receiver } from '../helpers/receiver.js';
import { startRunner, type Runner } from '../helpers/runner.js';
import { firstArrivals, inState, request } from '../helpers/snapshots.js';

let database: TestDatabase;
let sql: postgres.Sql;
let receiver: Receiver;
let runner: Runner;

beforeAll(async () => {
  database = await createDatabase();
  ({ sql } = database);
  receiver = await startReceiver();
  runner = startRunner(['run', '--init'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: database.url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
    },
  });
  await runner.waitForLog(/"streaming"/);
  await sql`create schema app`;
});
afterAll(async () => {
  await runner?.kill();
  await receiver?.close();
  await database?.drop();
});

/** The rows that a snapshot of the table brings, in their order, as texts. */
async function rowsOf(table: string, state = 'done'): Promise<string[]> {
  await sql`insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
    values (${`${receiver.url}/${table}`}, 'app', ${table})`;
  const id = await request(sql, [table], { schema_name: 'app', chunk_rows: 7 });
  await inState(sql, id, state);
  await confirmed(sql);
  const requests = receiver.requests.filter(({ path }) => path === `/${table}`);
  return firstArrivals({ ...receiver, requests }).map(({ row }) => JSON.stringify(row));
}

const expected = async (query: string) => {
  const rows = await sql.unsafe<{ row: string }[]>(query);
  return rows.map(({ row }) => JSON.stringify(row));
};

test('a type with an order of its own is gone through in that order', async () => {
  // It can be taken for text, as citext can, which has another order.
  await sql.unsafe(`
    create type app.reversed;
    create function app.reversed_in(cstring) returns app.reversed
      language internal immutable strict as 'textin';
    create function app.reversed_out(app.reversed) returns cstring
      language internal immutable strict as 'textout';
    create type app.reversed (input = app.reversed_in, output = app.reversed_out, like = text);
    create cast (app.reversed as text) without function as implicit;
    create cast (app.reversed as bytea) without function;
    create function app.lt(app.reversed, app.reversed) returns boolean
      language internal immutable strict as 'byteagt';
    create function app.le(app.reversed, app.reversed) returns boolean
      language internal immutable strict as 'byteage';
    create function app.eq(app.reversed, app.reversed) returns boolean
      language internal immutable strict as 'byteaeq';
    create function app.ge(app.reversed, app.reversed) returns boolean
      language internal immutable strict as 'byteale';
    create function app.gt(app.reversed, app.reversed) returns boolean
      language internal immutable strict as 'bytealt';
    create function app.cmp(app.reversed, app.reversed) returns integer
      language sql immutable strict as 'select byteacmp($2::bytea, $1::bytea)';
    create operator app.< (leftarg = app.reversed, rightarg = app.reversed, function = app.lt,
      commutator = operator(app.>), negator = operator(app.>=));
    create operator app.<= (leftarg = app.reversed, rightarg = app.reversed, function = app.le,
      commutator = operator(app.>=), negator = operator(app.>));
    create operator app.= (leftarg = app.reversed, rightarg = app.reversed, function = app.eq,
      commutator = operator(app.=));
    create operator app.>= (leftarg = app.reversed, rightarg = app.reversed, function = app.ge,
      commutator = operator(app.<=), negator = operator(app.<));
    create operator app.> (leftarg = app.reversed, rightarg = app.reversed, function = app.gt,
      commutator = operator(app.<), negator = operator(app.<=));
    create operator class app.reversed_ops default for type app.reversed using btree as
      operator 1 app.<, operator 2 app.<=, operator 3 app.=, operator 4 app.>=, operator 5 app.>,
      function 1 app.cmp(app.reversed, app.reversed);
    create domain app.upside as app.reversed;
    create table app.alone (k app.upside primary key);
    insert into app.alone select ('key ' || g)::text::app.reversed from generate_series(10, 59) g;
    create table app.mixed (n integer, k app.reversed, primary key (n, k));
    insert into app.mixed
    select g % 3, ('key ' || g)::text::app.reversed from generate_series(10, 59) g`);
  expect(await rowsOf('alone')).toEqual(
    await expected('select to_json(a) as row from app.alone a order by k::text collate "C" desc'),
  );
  expect(await rowsOf('mixed')).toEqual(
    await expected(
      'select to_json(m) as row from app.mixed m order by n, k::text collate "C" desc',
    ),
  );
});

test.each([
  ['enums', `app.grade`, `(array['low', 'middle', 'high'])[1 + g % 3]::app.grade`],
  ['arrays', 'integer[]', 'array[g % 5, -g]'],
  ['composites', 'app.pair', `(g % 5, 'x')::app.pair`],
  ['ranges', 'int4range', 'int4range(g % 5, g + 10)'],
  ['names', 'name', `('n' || g % 5)::name`],
  ['padded', 'character(3)', `(g % 5)::text`],
  ['letters', '"char"', `chr(65 + g % 5)::"char"`],
  ['bits', 'bit(5)', `(g % 5)::bit(5)`],
  ['limited', 'character varying(9) collate "C"', `repeat('x', g % 5)`],
  ['objects', 'regclass', `(1200 + g % 70)::oid::regclass`],
  ['moments', 'timestamp(3) with time zone', `timestamptz '2024-02-29' + g % 5 * interval '1 s'`],
  ['networks', 'cidr', `('10.0.0.' || g % 5)::cidr`],
])('keys of %s are gone through in their order', async (table, type, value) => {
  await sql`do $$ begin
    create type app.grade as enum ('low', 'middle', 'high');
    create type app.pair as (n integer, t text);
  exception when duplicate_object then null; end $$`;
  await sql.unsafe(`
    create table app.${table} (a ${type}, b integer, primary key (a, b));
    insert into app.${table} select ${value}, g from generate_series(1, 40) g`);
  expect(await rowsOf(table)).toEqual(
    await expected(`select to_json(t) as row from (
      select format('%s', a) as a, b from app.${table} x order by x.a, x.b) t`),
  );
});

test('what a domain checks is not run by the runner', async () => {
  await sql.unsafe(`
    create table app.calls (by text);
    create function app.spy(text) returns boolean language plpgsql as $$
    begin
      if current_setting('application_name') = 'pgstream snapshot' then
        insert into app.calls values (current_user);
      end if;
      return true;
    end $$;
    create domain app.spied as text check (app.spy(value));
    create domain app.spied_further as app.spied check (app.spy(value));
    create table app.guarded (k app.spied_further primary key);
    insert into app.guarded select 'key ' || g from generate_series(10, 59) g;
    create table app.inside (k app.spied[] primary key, n integer);
    insert into app.inside select array['key ' || g] from generate_series(10, 59) g;
    create table app.whole (k app.spied[] primary key);
    insert into app.whole select k from app.inside`);
  expect(await rowsOf('guarded')).toHaveLength(50);
  // These keys cannot be read again without the check of the domain inside.
  expect(await rowsOf('whole')).toHaveLength(50);
  expect(await rowsOf('inside', 'failed')).toHaveLength(0);
  const [{ reason }] = await sql<[{ reason: string }]>`
    select reason from pgstream.snapshot_status where table_name = 'inside'`;
  expect(reason).toMatch(/Give the table a primary key, of types that have no domains inside them/);
  expect(await sql`table app.calls`).toHaveLength(0);
});
