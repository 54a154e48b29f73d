/** Rows whose values an ALTER TABLE has changed, for subscriptions that want them again. */
import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { drained, startItems } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { firstArrivals } from '../helpers/snapshots.js';
import type { Receiver } from '../helpers/receiver.js';

const subscribe = (
  sql: postgres.Sql,
  receiver: Receiver,
  table: string,
  resend_rewritten: boolean,
) => sql`
  insert into pgstream.webhook_subscriptions
    ${sql({ url: `${receiver.url}/${resend_rewritten ? 'again' : 'once'}`, table_name: table, resend_rewritten })}`;

const requests = (sql: postgres.Sql) => sql<{ tables: string[]; state: string }[]>`
  select table_names as tables, state from pgstream.snapshot_requests order by id`;

const allDone = (sql: postgres.Sql, count: number) =>
  eventually(async () => {
    const all = await requests(sql);
    expect(all.map(({ state }) => state)).toEqual(Array.from({ length: count }, () => 'done'));
    return all;
  });

const pathsOf = ({ requests }: Receiver, body: string) =>
  requests.filter((request) => request.body.includes(body)).map(({ path }) => path);

test('rows that a change of type gave other values come again to who wants them', async () => {
  const { sql, receiver } = await startItems();
  await sql`create table priced (id integer primary key, price integer)`;
  await subscribe(sql, receiver, 'priced', true);
  await subscribe(sql, receiver, 'priced', false);
  await sql`insert into priced select g, g from generate_series(1, 50) g`;
  await sql`alter table priced alter price type numeric using price / 100.0`;
  await sql`insert into priced values (51, 9)`;
  await allDone(sql, 1);
  await drained(sql);

  const again = firstArrivals(receiver).filter(({ lsn }) => lsn === '0/0');
  const values = again.map(({ row }) => `${String(row!['id'])}: ${String(row!['price'])}`);
  expect(values).toHaveLength(51);
  expect(values).toContain('1: 0.01');
  expect(values).toContain('51: 9');
  expect(new Set(pathsOf(receiver, '"lsn":"0/0"'))).toEqual(new Set(['/again']));
});

test('what changes no value sends nothing again', async () => {
  const { sql, receiver } = await startItems();
  await sql`create table kept (id integer primary key, v text)`;
  await subscribe(sql, receiver, 'kept', true);
  await sql`insert into kept values (1, 'a')`;
  await sql`alter table kept add column n integer default 7`;
  await sql`alter table kept alter v type varchar`;
  await sql`create table other (id integer primary key, n integer)`;
  await sql`alter table other set unlogged`;
  await sql`alter table other set logged`;
  await sql`alter table other alter n type bigint`;
  await expect(
    sql.begin(async (tx) => {
      await tx`alter table kept alter n type bigint`;
      throw new Error('undone');
    }),
  ).rejects.toThrow('undone');
  await sql`alter table kept add column at double precision default random()`;
  await allDone(sql, 1);
  expect(await sql`select reason from pgstream.table_rewrites order by id`).toEqual([
    { reason: 1 },
    { reason: 1 },
    { reason: 4 },
    { reason: 2 },
  ]);
});

test('the partitions of a table are sent again once, under its name', async () => {
  const { sql, receiver } = await startItems();
  await sql`create table part (id integer, n integer, primary key (id)) partition by range (id)`;
  await sql`create table part_1 partition of part for values from (0) to (10)`;
  await sql`create table part_2 partition of part for values from (10) to (20)`;
  await subscribe(sql, receiver, 'part', true);
  await sql`insert into part values (1, 1), (11, 11)`;
  await sql`alter table part alter n type bigint using n * 2`;
  expect(await allDone(sql, 1)).toMatchObject([{ tables: ['part'] }]);
  await drained(sql);
  const again = firstArrivals(receiver).filter(({ lsn }) => lsn === '0/0');
  expect(again.map(({ row }) => row)).toEqual([
    { id: 1, n: 2 },
    { id: 11, n: 22 },
  ]);
  expect(pathsOf(receiver, '"table":"part_')).toEqual([]);
});

test('rows are asked for once, also by a runner that reads the rewrite again', async () => {
  const { sql, receiver, runner, start } = await startItems();
  await sql`create table t (id integer primary key, n integer)`;
  await subscribe(sql, receiver, 't', true);
  await sql`insert into t values (1, 1)`;
  await drained(sql);
  // What is not answered is not confirmed, so that the next runner begins before the rewrite.
  receiver.reply({ fault: 'hang' });
  await sql`insert into t values (2, 2)`;
  await sql`alter table t alter n type bigint`;
  await eventually(async () => expect(await requests(sql)).toHaveLength(1));
  await runner.kill();
  receiver.reply({ status: 200 });
  await start();
  await allDone(sql, 1);
});
