/** Tables of every kind, beside one runner. */
import type postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { confirmed, patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver, type Receiver } from '../helpers/receiver.js';
import { startRunner, type Runner } from '../helpers/runner.js';
import { firstArrivals, inState, request, statusOf } from '../helpers/snapshots.js';

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
});
afterAll(async () => {
  await runner?.kill();
  await receiver?.close();
  await database?.drop();
});

/** A subscription whose events come to a path of its own. */
async function subscribe(
  table: string,
  more: Record<string, string | number | boolean> = {},
): Promise<number> {
  const url = `${receiver.url}/${encodeURIComponent(`${table} ${String(more['name'] ?? '')}`)}`;
  const [row] = await sql<{ id: number }[]>`
    insert into pgstream.webhook_subscriptions ${sql({ url, table_name: table, ...more })}
    returning id::integer`;
  return row!.id;
}

const at = (table: string, name = '') => {
  const path = `/${encodeURIComponent(`${table} ${name}`)}`;
  return { ...receiver, requests: receiver.requests.filter((request) => request.path === path) };
};

const arrived = (table: string, name = '') => firstArrivals(at(table, name));

/** All is delivered that is to be delivered. */
async function rowsOf(table: string, name = '') {
  await confirmed(sql);
  return arrived(table, name).map(({ row }) => row!);
}

const snapshot = async (table: string, more = {}) => {
  const id = await request(sql, [table], more);
  return { id, status: await inState(sql, id, 'done') };
};

test('a table without rows is done at once', async () => {
  await sql`create table empty (id integer primary key)`;
  await subscribe('empty');
  const { status } = await snapshot('empty');
  expect(status).toEqual([{ state: 'done', reason: null, rows: 0 }]);
});

test('keys of several columns and of text in any form are gone through from end to end', async () => {
  await sql.unsafe(`
    create collation sloppy (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table odd ("a ""b" text collate sloppy, "Ü" text collate "C", n numeric, v text,
      primary key (n, "a ""b", "Ü"));
    insert into odd
    select (array['x', 'ä''''', 'a\\b', E'tab\\tnewline\\n', '', '\\N', '😀', 'Z'])[1 + g % 8],
      (array['"', 'ß', ' ', 'é'])[1 + g % 4] || g, g % 3 + 0.10, null
    from generate_series(1, 500) g`);
  await subscribe('odd');
  await snapshot('odd', { chunk_rows: 7 });
  const truth = await sql`select "a ""b", "Ü", n::text as n, v from odd`;
  const rows = await rowsOf('odd');
  expect(rows).toHaveLength(500);
  const sorted = (all: readonly Record<string, unknown>[]) =>
    all.map((row) => JSON.stringify({ ...row, n: Number(row['n']) })).sort();
  expect(sorted(rows)).toEqual(sorted(truth));
});

test('a partitioned table is one table, a child that inherits another one', async () => {
  await sql.unsafe(`
    create table split (id integer, v text, primary key (id)) partition by range (id);
    create table low partition of split for values from (0) to (100);
    create table high (v text, id integer not null);
    alter table split attach partition high for values from (100) to (200);
    insert into split select g, 'v' || g from generate_series(1, 199) g;
    create table parent (id integer primary key);
    create table child (extra text) inherits (parent);
    insert into parent values (1);
    insert into child values (2, 'child')`);
  await subscribe('split');
  await subscribe('parent');
  await snapshot('split', { chunk_rows: 30 });
  await snapshot('parent');
  const rows = await rowsOf('split');
  expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 199 }, (_, i) => i + 1));
  expect(at('split').requests[150]!.body).toContain('"schema":"public","table":"split"');
  expect(await rowsOf('parent')).toEqual([{ id: 1 }]);
});

test('rows of many megabytes come one by one', async () => {
  await sql`create table wide (id integer primary key, v text)`;
  await sql`insert into wide select g, repeat(g::text, 4000000) from generate_series(10, 29) g`;
  await subscribe('wide');
  await snapshot('wide');
  const rows = await rowsOf('wide');
  expect(rows.map(({ id, v }) => [id, String(v).length])).toEqual(
    Array.from({ length: 20 }, (_, i) => [i + 10, 8_000_000]),
  );
});

test('the request of one subscription is filtered, formed and sent for it alone', async () => {
  await sql`create table orders (id integer primary key, status text, secret text)`;
  await subscribe('orders', { name: 'all' });
  const mine = await subscribe('orders', {
    name: 'paid',
    schema_name: 'public',
    filter: `new.status = 'paid' and op = 'I'`,
    payload: `jsonb_build_object('order', new.id, 'at', now())`,
  });
  const standard = await subscribe('orders', { name: 'standard', format: 'standard' });
  await sql`
    insert into orders select g, case when g % 3 = 0 then 'paid' else 'open' end
    from generate_series(1, 30) g`;
  await eventually(() => arrived('orders', 'all').length === 30, patience);
  await eventually(() => at('orders', 'paid').requests.length === 10, patience);
  await eventually(() => at('orders', 'standard').requests.length === 30, patience);

  const { id } = await snapshot('orders', { subscription: mine });
  await confirmed(sql);
  const [asked] = await sql<{ at: string }[]>`
    select to_json(created_at) #>> '{}' as at from pgstream.snapshot_requests where id = ${id}`;
  const bodies = at('orders', 'paid')
    .requests.slice(10)
    .map(({ body }) => JSON.parse(body) as unknown);
  expect(bodies).toHaveLength(10);
  expect(bodies[0]).toMatchObject({ order: 3 });
  expect(Date.parse((bodies[0] as { at: string }).at)).toBe(Date.parse(asked!.at));
  expect(arrived('orders', 'all')).toHaveLength(30);

  await snapshot('orders', { subscription: standard });
  await confirmed(sql);
  const later = at('orders', 'standard')
    .requests.slice(30)
    .map(({ body }) => JSON.parse(body) as object);
  expect(later).toHaveLength(30);
  expect(later[0]).toMatchObject({
    type: 'public.orders.inserted',
    data: { new: { id: 1 }, old: null },
  });
});

test('what the owner may not read is left out', async () => {
  await sql.unsafe(`
    create role snapshot_reader;
    create table payroll (id integer primary key, name text, salary integer);
    grant select (id, name) on payroll to snapshot_reader;
    grant usage on schema public to snapshot_reader;
    select pgstream.grant_subscriber('snapshot_reader');
    insert into payroll values (1, 'ann', 9)`);
  try {
    await sql.begin(async (tx) => {
      await tx`set local role snapshot_reader`;
      const url = `${receiver.url}/${encodeURIComponent('payroll ')}`;
      const [row] = await tx<{ id: number }[]>`
        insert into pgstream.webhook_subscriptions (url, table_name)
        values (${url}, 'payroll') returning id::integer`;
      await tx`
        insert into pgstream.snapshot_requests (table_names, subscription)
        values ('{payroll}', ${row!.id})`;
    });
    await eventually(() => arrived('payroll').length === 1, patience);
    expect(await rowsOf('payroll')).toEqual([{ id: 1, name: 'ann' }]);
  } finally {
    await sql`delete from pgstream.webhook_subscriptions where owner = 'snapshot_reader'`;
    await sql.unsafe('drop owned by snapshot_reader; drop role snapshot_reader');
  }
});

test('a table without a key is read in one go, with a word of warning', async () => {
  await sql`create table keyless (v text)`;
  await sql`insert into keyless select 'same' from generate_series(1, 250)`;
  await subscribe('keyless');
  const { status } = await snapshot('keyless', { chunk_rows: 100 });
  expect(status).toEqual([{ state: 'done', reason: null, rows: 250 }]);
  expect(await rowsOf('keyless')).toHaveLength(250);
  expect(runner.stderr).toMatch(/a table without a usable key/);
});

test('paused, it stops behind its chunk and goes on; deleted, it is over', async () => {
  await sql`create table long (id integer primary key)`;
  await sql`insert into long select generate_series(1, 20000)`;
  await subscribe('long');
  const id = await request(sql, ['long'], { chunk_rows: 50, share: 0.2 });
  await eventually(() => arrived('long').length > 100, patience);
  await sql`update pgstream.snapshot_requests set paused = true where id = ${id}`;
  await inState(sql, id, 'paused');
  await confirmed(sql);
  const before = arrived('long').length;
  await sql`create table beacon (id integer primary key)`;
  await subscribe('beacon');
  await snapshot('beacon');
  await confirmed(sql);
  expect(arrived('long')).toHaveLength(before);
  await sql`update pgstream.snapshot_requests set paused = false where id = ${id}`;
  await eventually(() => arrived('long').length > before, patience);
  await sql`delete from pgstream.snapshot_requests where id = ${id}`;
  await sql`insert into beacon values (1)`;
  await eventually(() => arrived('beacon').length === 1, patience);
  expect(await statusOf(sql, id)).toEqual([]);
  expect(arrived('long').length).toBeLessThan(20_000);
});

test('it waits for a subscription of its own that takes nothing', async () => {
  await sql`create table held (id integer primary key)`;
  await sql`insert into held values (1), (2)`;
  const subscription = await subscribe('held', { enabled: false });
  const id = await request(sql, ['held'], { subscription });
  // At first it may wait for the log to be read up to the subscription.
  await eventually(async () => {
    const [status] = await inState(sql, id, 'waiting');
    expect(status!.reason).toBe(`subscription ${subscription} is paused`);
  }, patience);
  await sql`update pgstream.webhook_subscriptions set enabled = true where id = ${subscription}`;
  await inState(sql, id, 'done');
  expect(await rowsOf('held')).toHaveLength(2);
});

test('it begins when older writers of the table have ended, and says for whom it waits', async () => {
  await sql`create table written (id integer primary key)`;
  await sql`insert into written values (1)`;
  await subscribe('written');
  const writer = await sql.reserve();
  await writer`begin`;
  const [{ pid } = { pid: 0 }] = await writer<{ pid: number }[]>`select pg_backend_pid() as pid`;
  await writer`insert into written values (2)`;
  const id = await request(sql, ['written']);
  const [status] = await inState(sql, id, 'starting');
  expect(status!.reason).toContain(`process ${pid}`);
  await writer`commit`;
  writer.release();
  await inState(sql, id, 'done');
  const rows = await rowsOf('written');
  expect(new Set(rows.map(({ id: key }) => key))).toEqual(new Set([1, 2]));
});

const during = [
  ['a column that is added', 'add column extra integer default 7', 'done'],
  ['a rewrite', `alter column v type text using v || '!'`, 'done'],
  ['a new name', 'rename to changing_renamed', 'done'],
  ['another order of the key', 'alter column id type text', 'done'],
] as const;

test.each(during)('%s in the middle does no harm', async (_, change, state) => {
  await sql`drop table if exists changing, changing_renamed`;
  await sql`create table changing (id integer primary key, v text)`;
  await sql`insert into changing select g, 'v' from generate_series(1, 2000) g`;
  const name = change.split(' ')[0]! + String(change.length);
  await subscribe('changing*', { name });
  const id = await request(sql, ['changing'], { chunk_rows: 50, share: 0.5 });
  await eventually(() => arrived('changing*', name).length > 200, patience);
  await sql.unsafe(`alter table changing ${change}`);
  await inState(sql, id, state);
  const rows = await rowsOf('changing*', name);
  expect(new Set(rows.map((row) => String(row['id']))).size).toBe(2000);
  const shapes = new Set(rows.map((row) => JSON.stringify({ ...row, id: 0 })));
  expect(shapes.size).toBe(/rename|id type/.test(change) ? 1 : 2);
});

test('a table that is truncated is done with what there is; one that is dropped has failed', async () => {
  await sql`create table vanishing (id integer primary key)`;
  await sql`insert into vanishing select generate_series(1, 20000)`;
  await subscribe('vanishing');
  const first = await request(sql, ['vanishing'], { chunk_rows: 50, share: 0.2 });
  await eventually(() => arrived('vanishing').length > 100, patience);
  await sql`truncate vanishing`;
  await inState(sql, first, 'done');

  await sql`insert into vanishing select generate_series(1, 20000)`;
  const second = await request(sql, ['vanishing'], { chunk_rows: 50, share: 0.2 });
  await eventually(async () => (await statusOf(sql, second))[0]!.rows > 100, patience);
  await sql`drop table vanishing`;
  const [status] = await inState(sql, second, 'failed');
  expect(status!.reason).toContain('dropped');
});

test('partitions whose changes do not tell the row are refused with a way out', async () => {
  await sql.unsafe(`
    create table mixed (id integer not null, other integer not null, primary key (id, other))
      partition by range (id);
    create table mixed_one partition of mixed for values from (0) to (100);
    create unique index mixed_other on mixed_one (other);
    alter table mixed_one replica identity using index mixed_other;
    insert into mixed values (1, 1)`);
  await subscribe('mixed');
  const id = await request(sql, ['mixed']);
  const [status] = await inState(sql, id, 'failed');
  expect(status!.reason).toMatch(/do not tell which row.*replica identity/);
});

test('a snapshot does not wait for one that waits', async () => {
  await sql`create table first_asked (id integer primary key)`;
  await sql`insert into first_asked values (1)`;
  const subscription = await subscribe('first_asked', { enabled: false });
  const waiting = await request(sql, ['first_asked'], { subscription });
  await inState(sql, waiting, 'waiting');
  await sql`create table second_asked (id integer primary key)`;
  await sql`insert into second_asked values (1)`;
  await subscribe('second_asked');
  await snapshot('second_asked');
  await sql`delete from pgstream.snapshot_requests where id = ${waiting}`;
});

test('more changes than can be noted only make it begin later', async () => {
  await sql`create table crowded (id integer primary key, v integer default 0)`;
  await sql`insert into crowded select generate_series(1, 110000)`;
  const url = `${receiver.url}/${encodeURIComponent('crowded ')}`;
  await sql`
    insert into pgstream.webhook_subscriptions (url, table_name, schema_name, filter)
    values (${url}, 'crowded', 'public', 'new.id <= 100')`;
  const writer = await sql.reserve();
  await writer`begin`;
  await writer`insert into crowded values (0)`;
  const id = await request(sql, ['crowded'], { chunk_rows: 10000 });
  await inState(sql, id, 'starting');
  await sql`update crowded set v = 1`;
  await eventually(() => arrived('crowded').length === 100, { timeout: 60_000 });
  await writer`commit`;
  writer.release();
  await inState(sql, id, 'done');
  await confirmed(sql);
  const rows = firstArrivals(at('crowded')).filter(({ lsn }) => lsn === '0/0');
  expect(new Set(rows.map(({ row }) => row!['id'])).size).toBe(101);
  expect(new Set(rows.map(({ row }) => row!['v']))).toEqual(new Set([0, 1]));
}, 120_000);
