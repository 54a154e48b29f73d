import type postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';
import { createForeignPair, type ForeignPair } from '../helpers/foreign.js';
import { eventually } from '../helpers/poll.js';

let pair: ForeignPair;
let local: postgres.Sql;
let remote: postgres.Sql;
beforeAll(async () => {
  pair = await createForeignPair();
  ({ local, remote } = pair);
  await remote.unsafe(`
    create type mood as enum ('sad', 'glad');
    create table item (
      id integer primary key, note text, data json, mood mood, at timestamptz default now());
    create table other (id integer primary key, note text);
    create table unkeyed (id integer)`);
  await pair.importIt();
});
afterAll(() => pair.drop());

beforeEach(async () => {
  await remote.unsafe(`truncate item, other;
    insert into item select n, 'note ' || n, '{"a": 1}', 'glad' from generate_series(1, 10) n`);
});

const refresh = async (target: string) => {
  const [row] = await local`
    select pgstream.refresh_cached_table(${target}::regclass)::integer as changed`;
  return row!['changed'] as number | null;
};

const cached = async (target: string, more = '') => {
  await local.unsafe(`select pgstream.cache_foreign_table('shop.item', '${target}'${more})`);
};

const statusOf = async (target: string) => {
  const [row] = await local<Record<string, unknown>[]>`
    select *, next_refresh_at - last_error_at > interval '30 s' as is_backing_off
    from pgstream.cached_status where target = ${target}::regclass`;
  return row!;
};

test('a cached table is filled when it is made, and refreshed by what differs', async () => {
  await cached('public.item');
  expect(await local`select * from item`).toHaveLength(10);
  expect(await refresh('item')).toBe(0);
  await remote.unsafe(`
    update item set note = 'changed' where id <= 2; delete from item where id = 3;
    insert into item (id) values (11); update item set data = '{"a":1}' where id = 4`);
  expect(await refresh('item')).toBe(5);
  const rows = (sql: postgres.Sql, table: string) =>
    sql.unsafe(`select id, note, data::text, mood::text, at::text from ${table} order by id`);
  expect([...(await rows(local, 'item'))]).toEqual([...(await rows(remote, 'item'))]);
});

test('what was not changed is not written', async () => {
  const untouched = () => local`select id, xmin::text from item where id > 5 order by id`;
  await refresh('item');
  const before = [...(await untouched())];
  await remote`update item set note = 'new' where id = 1`;
  expect(await refresh('item')).toBe(1);
  expect([...(await untouched())]).toEqual(before);
});

test('two hundred thousand rows with a hundred changes make a hundred writes', async () => {
  await remote`insert into other select n, 'note ' || n from generate_series(1, 200000) n`;
  await local`select pgstream.cache_foreign_table('shop.other', 'public.other')`;
  await remote`update other set note = 'changed' where id % 2000 = 0`;
  const reader = await local.reserve();
  try {
    await reader`begin`;
    await reader`select count(*) from other`;
    expect(await refresh('other')).toBe(100); // while it is read
  } finally {
    await reader`rollback`;
    reader.release();
  }
  expect(await local`select from other where note = 'changed'`).toHaveLength(100);
  await local`select pgstream.uncache_foreign_table('other')`;
});

test('a materialized view has a key, and is refreshed concurrently', async () => {
  await cached('public.item_view', ", mode => 'materialized_view', refresh_every => '1 hour'");
  await remote`delete from item where id > 3`;
  const reader = await local.reserve();
  try {
    await reader`begin`;
    expect(await reader`select * from item_view`).toHaveLength(10);
    expect(await refresh('item_view')).toBeNull();
  } finally {
    await reader`rollback`;
    reader.release();
  }
  expect(await local`select * from item_view`).toHaveLength(3);
  expect(await statusOf('item_view')).toMatchObject({ state: 'fresh', mode: 'materialized_view' });
});

test('refresh_due refreshes what is due, or all of it, as of one moment', async () => {
  await cached('public.item', ", refresh_every => '1 hour'");
  await remote`insert into item (id) values (12)`;
  await local`call pgstream.refresh_due()`.simple();
  expect(await local`select from item where id = 12`).toHaveLength(0);
  await local`call pgstream.refresh_due(force => true)`.simple();
  expect(await local`select from item where id = 12`).toHaveLength(1);
  expect(await local`select from item_view where id = 12`).toHaveLength(1);
});

test('two that refresh at once do not do the same work', async () => {
  const holder = await local.reserve();
  try {
    await holder`begin`;
    await holder`select pgstream.refresh_cached_table('item')`;
    await remote`insert into item (id) values (13)`;
    await local`call pgstream.refresh_due(force => true)`.simple();
    expect(await local`select from item_view where id = 13`).toHaveLength(1);
    expect(await local`select from item where id = 13`).toHaveLength(0);
  } finally {
    await holder`commit`;
    holder.release();
  }
});

test('a copy gets the columns that its source has, by itself', async () => {
  await local`create view on_item as select id, note from item`;
  await remote.unsafe(`alter table item rename column note to remark;
    alter table item add column extra integer default 7;
    alter table item alter column remark type varchar(50);
    alter type mood add value 'calm'`);
  await remote`update item set mood = 'calm' where id = 1`;
  await local`call pgstream.refresh_due(force => true)`.simple();
  // one that had to be made anew has its turn when it is due again
  await local`call pgstream.refresh_due(force => true)`.simple();
  for (const target of ['item', 'item_view']) {
    expect(await statusOf(target)).toMatchObject({ last_error: null });
    const [row] = await local.unsafe(
      `select mood::text, remark, extra from ${target} where id = 1`,
    );
    expect(row, target).toEqual({ mood: 'calm', remark: 'note 1', extra: 7 });
  }
  expect([...(await local`select note from on_item where id = 1`)]).toEqual([{ note: 'note 1' }]);
  await local`drop view on_item`;
  await remote.unsafe('alter table item drop column extra');
  await local`call pgstream.refresh_due(force => true)`.simple();
  expect((await local`select * from item limit 1`)[0]).not.toHaveProperty('extra');
  await remote.unsafe('alter table item rename column remark to note');
  await local`call pgstream.refresh_due(force => true)`.simple();
});

test('a database that runs pgstream is followed as soon as its schema log has moved', async () => {
  const other = await createForeignPair(await createDatabase());
  try {
    await other.remote`create table item (id integer primary key)`;
    await other.importIt();
    await other.local`select pgstream.cache_foreign_table('shop.item', 'public.item')`;
    await other.remote`alter table item add column more integer default 5`;
    await other.remote`insert into item values (1)`;
    await other.local`call pgstream.refresh_due(force => true)`.simple();
    expect([...(await other.local`select * from item`)]).toEqual([{ id: 1, more: 5 }]);
  } finally {
    await other.drop();
  }
});

test('copies that are refreshed together are as of one moment', async () => {
  await remote.unsafe(`truncate item; insert into item (id, data) values (1, '100');
    create table item_too (id integer primary key, data json);
    insert into item_too values (1, '100')`);
  await pair.sync();
  await local`select pgstream.cache_foreign_table('shop.item_too', 'public.item_too')`;
  let isOver = false;
  const move = async () => {
    while (!isOver) {
      await remote.unsafe(`
        update item set data = (data::text::integer - 1)::text::json;
        update item_too set data = (data::text::integer + 1)::text::json`);
    }
  };
  const moving = move();
  try {
    for (let round = 0; round < 10; round++) {
      await local`call pgstream.refresh_due(force => true)`.simple();
      const [sum] = await local`
        select (a.data::text::integer + b.data::text::integer) as total from item a, item_too b`;
      expect(sum).toEqual({ total: 200 });
    }
  } finally {
    isOver = true;
    await moving;
  }
  await local`select pgstream.uncache_foreign_table('item_too')`;
});

test('what stands while the foreign database is away, and when it is tried again', async () => {
  await cached('public.item', ", refresh_every => '1 minute'");
  const before = await local`select * from item order by id`;
  await local.unsafe("alter server shop options (set port '1')");
  const start = Date.now();
  await local`call pgstream.refresh_due(force => true)`.simple();
  await local`call pgstream.refresh_due(force => true)`.simple();
  expect(Date.now() - start).toBeLessThan(20_000);
  expect(await statusOf('item')).toMatchObject({
    state: 'failing',
    failures: 2,
    is_backing_off: true,
    last_error: expect.stringMatching(/^08001 c.* connect to /) as string,
  });
  expect([...(await local`select * from item order by id`)]).toEqual([...before]);
  const [foreign] = await local`
    select state, problem from pgstream.foreign_status
    where foreign_table = 'shop.item'::regclass`;
  expect(foreign).toMatchObject({ state: 'unreachable' });

  await pair.importIt();
  await local`call pgstream.refresh_due(force => true)`.simple();
  expect(await statusOf('item')).toMatchObject({ state: 'fresh', failures: 0, last_error: null });
});

test('with a watermark only newer rows are read, and deleted ones are found within a day', async () => {
  await local`select pgstream.uncache_foreign_table('item')`;
  await remote`update item set at = '2020-01-01'`;
  await cached('public.item', ", watermark => 'at'");
  await remote.unsafe(`update item set note = 'old' where id = 1;
    update item set note = 'new', at = '2020-02-01' where id = 2; delete from item where id = 3;
    insert into item (id, at) values (20, '2020-02-02')`);
  await remote`update item set at = '2019-01-01' where id = 1`;
  expect(await refresh('item')).toBe(2);
  expect([...(await local`select id, note from item where id <= 3 order by id`)]).toEqual([
    { id: 1, note: 'note 1' },
    { id: 2, note: 'new' },
    { id: 3, note: 'note 3' },
  ]);
  await local`update pgstream.cached_tables set compared_at = now() - interval '25 hours'`;
  expect(await refresh('item')).toBe(2);
  expect(await local`select * from item where id = 3`).toHaveLength(0);
});

test.each([
  ["'shop.unkeyed', 'public.x'", '55000', /key_columns =>/],
  ["'shop.item', 'public.x', mode => 'view'", '22023', /materialized_view/],
  ["'shop.item', 'public.x', key_columns => '{nosuch}'", '42703', /Its columns are: id/],
  ["'shop.item', 'x'", '42602', /schema\.table/],
  ["'shop.item', 'nosuch.x'", '3F000', /create schema nosuch/],
  ["'shop.item', 'pgstream.x'", '3F000', /create schema/],
  [`'shop.item', 'public.${'x'.repeat(64)}'`, '42622', /shorter/],
  ["'shop.item', 'public.taken'", '42P07', /another target/],
  ["'shop.item', 'public.x', refresh_every => '1 ms'", '23514', undefined],
  [
    "'shop.item', 'public.x', watermark => 'at', mode => 'materialized_view'",
    '22023',
    /mode => 'table'/,
  ],
])('cache_foreign_table(%s) is refused with %s, and nothing is made', async (given, code, hint) => {
  await local.unsafe('create table if not exists taken (id integer)');
  const error = await local.unsafe(`select pgstream.cache_foreign_table(${given})`).then(
    () => undefined,
    (refused: postgres.PostgresError) => refused,
  );
  expect(error?.code).toBe(code);
  if (hint) expect(error?.hint).toMatch(hint);
  expect((await local`select to_regclass('public.x') as made`)[0]!['made']).toBeNull();
});

test('a table without a key of its own is cached by the one that is named', async () => {
  await remote`insert into unkeyed values (1), (2)`;
  await local`
    select pgstream.cache_foreign_table('shop.unkeyed', 'public.unkeyed', key_columns => '{id}')`;
  expect(await local`select * from unkeyed`).toHaveLength(2);
  await remote`insert into unkeyed values (3), (3)`;
  await expect(refresh('unkeyed')).rejects.toThrow(/duplicate key/);
  expect(await local`select * from unkeyed`).toHaveLength(2);
});

test('a copy that was dropped is forgotten, one that is let go can stay', async () => {
  await local`select pgstream.uncache_foreign_table('unkeyed', keep => true)`;
  expect(await local`select * from unkeyed`).toHaveLength(2);
  await local`drop materialized view item_view`;
  await local`call pgstream.refresh_due(force => true)`.simple();
  await eventually(async () => {
    const left = await local`select target::text from pgstream.cached_status`;
    expect([...left]).toEqual([{ target: 'item' }]);
  });
  await expect(local`select pgstream.drop_foreign_database('shop')`).rejects.toMatchObject({
    code: '2BP01',
    detail: 'Cached tables: public.item.',
  });
});
