import type postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createForeignPair, startRemote, type Done, type ForeignPair } from '../helpers/foreign.js';

let pair: ForeignPair;
beforeAll(async () => {
  pair = await createForeignPair(await startRemote());
});
afterAll(async () => {
  await pair.local.unsafe('drop owned by sync_reader; drop role sync_reader');
  await pair.drop();
});

const told = (done: readonly Done[]) =>
  done.map(({ foreign_table: table, action, detail }) => [table, action, detail].join(' ').trim());

/** Each statement of the other database, and what a sync after it says. */
const statements: [statement: string, ...done: string[]][] = [
  ['create table b (id integer primary key)', 'shop.b created'],
  ['create table c (id integer)', 'shop.c created'],
  ['create table public."Odd ""one" ("the ""key" text primary key)', 'shop."Odd ""one" created'],
  ['create view v as select id from b', 'shop.v created'],
  ['create materialized view mv as select count(*) as n from b', 'shop.mv created'],
  [
    'create table p (id integer, at date, primary key (id, at)) partition by range (at)',
    'shop.p created',
  ],
  ["create table p1 partition of p for values from ('2020-01-01') to ('2021-01-01')"],
  ['create table p2 partition of p default'],
  ['create table child () inherits (b)', 'shop.child created'],
  [
    'alter table b add column note text',
    'shop.b altered column note added',
    'shop.child altered column note added',
  ],
  [
    'alter table b rename column note to remark',
    'shop.b altered column note renamed to remark',
    'shop.child altered column note renamed to remark',
  ],
  [
    'alter table b drop column remark',
    'shop.b altered column remark dropped',
    'shop.child altered column remark dropped',
  ],
  ['drop table child', 'shop.child dropped'],
  [
    'alter table a alter column name type varchar(80)',
    'shop.a altered column name is character varying(80)',
  ],
  ['alter table a alter column name set not null', 'shop.a altered column name is not null'],
  ['alter table a alter column name drop not null', 'shop.a altered column name is nullable'],
  [
    'alter table a alter column total type numeric(20,6)',
    'shop.a altered column total is numeric(20,6)',
  ],
  [
    'alter table a alter column total type double precision',
    'shop.a altered column total is double precision',
  ],
  [
    'alter table a rename column name to full_name',
    'shop.a altered column name renamed to full_name',
  ],
  [
    'alter table a rename column full_name to name',
    'shop.a altered column full_name renamed to name',
  ],
  ['alter table a rename column total to swap', 'shop.a altered column total renamed to swap'],
  [
    `do $$ begin alter table a rename column swap to x; alter table a rename column name to swap;
       alter table a rename column x to name; end $$`,
    'shop.a altered column name renamed to swap; column swap renamed to name',
  ],
  [
    `do $$ begin alter table a rename column swap to x; alter table a rename column name to total;
       alter table a rename column x to name; end $$`,
    'shop.a altered column swap renamed to name; column name renamed to total',
  ],
  [
    "alter type status rename value 'new' to 'fresh'",
    'shop.status altered label new renamed to fresh',
  ],
  ["alter type status add value 'lost'", 'shop.status altered label lost added'],
  ["alter type status add value 'zero' before 'fresh'", 'shop.status altered label zero added'],
  ["alter type status add value 'half' after 'fresh'", 'shop.status altered label half added'],
  ['alter type status rename to state'],
  ["create type mood as enum ('sad', 'glad')"],
  [
    'alter table a add column mood mood[]',
    'shop.mood altered created',
    'shop.a altered column mood added',
  ],
  ['alter table a drop column mood', 'shop.a altered column mood dropped'],
  ['drop type mood'],
  ['create domain positive as integer check (value > 0)'],
  ['alter table a add column score positive', 'shop.a altered column score added'],
  ['alter domain positive add constraint small check (value < 100)'],
  ['alter table a alter column score type bigint', 'shop.a altered column score is bigint'],
  ['create type pair as (x integer, y text)'],
  ['alter table a add column pair pair', 'shop.a altered column pair added; pair read as text'],
  ['alter table a alter column pair type text', 'shop.a altered column pair is text'],
  ['alter table a add column rel regclass', 'shop.a altered column rel added; rel read as text'],
  [
    'alter table a drop column rel, drop column pair',
    'shop.a altered column pair dropped; column rel dropped',
  ],
  [
    'alter table a add column twice double precision generated always as (total * 2) stored',
    'shop.a altered column twice added',
  ],
  [
    'alter table a add column n integer generated always as identity not null',
    'shop.a altered column n added',
  ],
  [
    'alter table a alter column note type text collate "C"',
    'shop.a altered column note is text collate "C"',
  ],
  [
    'alter table a alter column note type text collate "default"',
    'shop.a altered column note is text',
  ],
  ['alter table b rename to e', 'shop.e altered renamed from b'],
  ['create table b (id text)', 'shop.b created'],
  [
    'do $$ begin alter table b rename to x; alter table e rename to b; alter table x rename to e; end $$',
    'shop.b altered renamed from e',
    'shop.e altered renamed from b',
  ],
  ['drop view v', 'shop.v dropped'],
  ['create view v as select 1 as one', 'shop.v created'],
  ['create or replace view v as select 1 as one, 2 as two', 'shop.v altered column two added'],
  ['alter view v rename to w', 'shop.w altered renamed from v'],
  ['drop materialized view mv', 'shop.mv dropped'],
  ['alter table c add primary key (id)', 'shop.c altered column id is not null'],
  ['alter table c drop constraint c_pkey'],
  ['alter table c alter column id drop not null', 'shop.c altered column id is nullable'],
  ['create unique index on c (id)'],
  ['create schema other'],
  ['alter table c set schema other', 'shop.c dropped'],
  ['alter table other.c set schema public', 'shop.c created'],
  ['drop table p', 'shop.p dropped'],
  ['drop table "Odd ""one"', 'shop."Odd ""one" dropped'],
  [
    'do $$ begin drop table c; create table c (id integer, more json); end $$',
    'shop.c altered column more added',
  ],
  [
    'alter table c drop column id, add column id uuid',
    'shop.c altered column id dropped; column id added',
  ],
  ['comment on table a is $$nothing that matters$$'],
];

test('sixty statements later everything still answers', async () => {
  const { local, remote } = pair;
  await remote.unsafe(`
    create type status as enum ('new', 'paid');
    create table a (id bigint primary key, name text, total numeric(10,2), status status, note text);
    insert into a values (1, 'one', 1.5, 'new', 'x')`);
  expect(told(await pair.importIt())).toEqual(['shop.status altered created', 'shop.a created']);
  await local.unsafe(`
    create role sync_reader;
    create view kept as select id, upper(name::text) as name, total from shop.a;
    create view kept_on_kept as select name, total::float8 as total from kept;
    create materialized view kept_rows as select id, name from shop.a;
    create unique index on kept_rows (id);
    comment on view kept is 'of the user';
    grant select on kept to sync_reader;
    grant select (id) on shop.a to sync_reader`);

  expect(statements.length).toBeGreaterThan(60);
  for (const [statement, ...done] of statements) {
    await remote.unsafe(statement);
    expect(told(await pair.sync()).toSorted(), statement).toEqual(done.toSorted());
    const status = await local<{ here: string; there: string; state: string }[]>`
      select foreign_table::text as here, remote_table as there, state
      from pgstream.foreign_status order by 1`;
    expect(status.filter(({ state }) => state !== 'in step')).toEqual([]);
    const all = (names: string[]) =>
      names.map((name) => `(select count(x) from (select * from ${name}) x)`).join(', ');
    await local.unsafe(`select ${all(status.map(({ here }) => here))}`);
    const columns = (sql: postgres.Sql, names: string[]) => sql`
      select t.n, array_agg(a.attname::text order by a.attname collate "C") as names
      from unnest(${names}::text[]) with ordinality t(name, n)
      join pg_attribute a on a.attrelid = t.name::regclass and a.attnum > 0
        and not a.attisdropped
      group by 1 order by 1`;
    expect(
      [
        ...(await columns(
          local,
          status.map(({ here }) => here),
        )),
      ],
      statement,
    ).toEqual([
      ...(await columns(
        remote,
        status.map(({ there }) => there),
      )),
    ]);
    expect([...(await local`select * from kept_on_kept`)]).toEqual([{ name: 'ONE', total: 1.5 }]);
    expect(await local`select * from kept_rows`).toHaveLength(1);
  }
  expect(await pair.sync()).toEqual([]);
  const [kept] = await local`
    select obj_description('kept'::regclass) as comment,
           has_table_privilege('sync_reader', 'kept', 'select') as view_is_granted,
           has_column_privilege('sync_reader', 'shop.a', 'id', 'select') as column_is_granted`;
  expect(kept).toEqual({
    comment: 'of the user',
    view_is_granted: true,
    column_is_granted: true,
  });
  await local`refresh materialized view concurrently kept_rows`;
}, 120_000);

test('what is needed here is named, and nothing of it is touched', async () => {
  const { local, remote } = pair;
  await remote.unsafe('create table needed (id integer primary key, gone text, kept text)');
  await pair.sync();
  await local.unsafe(`
    create view on_gone as select gone from shop.needed;
    create function on_kept() returns text language sql
      begin atomic select kept from shop.needed limit 1; end`);
  await remote.unsafe('alter table needed drop column gone, add column added integer');
  const gone = 'column gone is gone, but needed by view public.on_gone';
  expect(told(await pair.sync())).toEqual([`shop.needed blocked column added added; ${gone}`]);
  const status = () => local`
    select state, problem from pgstream.foreign_status
    where foreign_table = to_regclass('shop.needed')`;
  expect([...(await status())]).toEqual([{ state: 'blocked', problem: gone }]);
  expect([...(await local`select id, kept, added from shop.needed`)]).toEqual([]);

  await remote.unsafe('alter table needed alter column kept type varchar(9)');
  const [blocked] = await pair.sync();
  expect(blocked!.detail).toContain('column kept cannot become character varying(9) because of');
  expect(blocked!.detail).toContain('function public.on_kept()');

  await remote.unsafe('alter table needed rename to moved');
  await pair.sync();
  await remote.unsafe('drop table moved');
  const [missing] = await pair.sync();
  expect(missing).toMatchObject({ foreign_table: 'shop.moved', action: 'missing' });
  expect(missing!.detail).toContain('view public.on_gone');
  await local.unsafe('drop view on_gone; drop function on_kept');
  expect(told(await pair.sync())).toEqual(['shop.moved dropped']);
});

test('a dry run tells what a sync would do, and does nothing', async () => {
  const { local, remote } = pair;
  await remote.unsafe('create table dry (id integer)');
  const would = await local`select * from pgstream.sync_foreign_database('shop', dry_run => true)`;
  expect([...would]).toEqual([{ foreign_table: 'shop.dry', action: 'created', detail: '' }]);
  expect([...(await local`select to_regclass('shop.dry')::text as found`)]).toEqual([
    { found: null },
  ]);
  await remote.unsafe('drop table dry');
});

test('a database that was restored is matched by its names', async () => {
  const { local, remote } = pair;
  await remote.unsafe('create table again (id integer, gone text, kept text)');
  await remote.unsafe('alter table again drop column gone');
  await pair.sync();
  await local.unsafe('create view on_again as select kept from shop.again');
  await remote.unsafe('drop table again; create table again (id integer, kept text, more text)');
  expect(told(await pair.sync())).toEqual(['shop.again altered column more added']);
  await local`update pgstream.foreign_databases set place = 'elsewhere'`;
  await remote.unsafe('alter table again rename to before; create table again (kept text)');
  expect(told(await pair.sync())).toEqual([
    'shop.again altered column id dropped; column more dropped',
    'shop.before created',
  ]);
});

test('a foreign table that is in use is left for the next time', async () => {
  const { local, remote } = pair;
  await remote.unsafe('create table busy (id integer)');
  await pair.sync();
  await remote.unsafe('alter table busy add column more text');
  const reader = await local.reserve();
  try {
    await reader`begin`;
    await reader`select from shop.busy`;
    expect(told(await pair.sync())).toEqual([
      'shop.busy failed in use by another transaction: sync again',
    ]);
  } finally {
    await reader`rollback`;
    reader.release();
  }
  expect(told(await pair.sync())).toEqual(['shop.busy altered column more added']);
});
