import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { dumpAndRestore } from '../helpers/dump.js';
import { idsIn, type Ids } from '../helpers/schema-ids.js';
import { expectLogInStep } from '../helpers/schema-log.js';
import { databaseUrl } from '../helpers/template.js';

async function newDatabase(options?: { template: boolean }): Promise<TestDatabase> {
  const database = await createDatabase(options);
  onTestFinished(() => database.drop());
  return database;
}

const numbered = (ids: Ids, table: string, numbers: Record<string, number>) =>
  Object.fromEntries(Object.entries(numbers).map(([c, n]) => [c, `${ids[table]!.id}-${n}`]));

test('a dump that is restored keeps the ids, and new columns get numbers of their own', async () => {
  const from = await newDatabase();
  await from.sql.unsafe(`create table t (a int, gone int, b int, last int);
    alter table t drop gone, drop last; create table u (id serial)`);
  const before = await idsIn(from);
  const to = await newDatabase({ template: false });
  if (!(await dumpAndRestore(from.url, to.url))) return;

  await to.sql.unsafe('alter table t add column c int');
  const after = await idsIn(to);
  expect(after['t']!.id).toBe(before['t']!.id);
  expect(after['t']!.columns).toEqual(numbered(before, 't', { a: 1, b: 3, c: 5 }));
  expect(await to.sql`select command_tag from pgstream.ddl_error`).toEqual([
    { command_tag: 'RESTORE' },
  ]);
  await to.sql`select * from pgstream.reconcile()`;
  await expectLogInStep(to.sql);
  expect((await idsIn(to))['u']).toEqual(before['u']);
  expect(await to.sql`select * from pgstream.reconcile()`).toHaveLength(0);
});

test('a copy of a database keeps the ids', async () => {
  const from = await newDatabase();
  await from.sql.unsafe('create table t (a int, b int); alter table t drop a');
  const before = await idsIn(from);
  const name = `${from.name}_copy`;
  await from.sql.end();
  const admin = await newDatabase({ template: false });
  await admin.sql.unsafe(`create database ${name} template ${from.name}`);
  const copy = { ...admin, name, url: databaseUrl(admin.url, name) };
  const sql = postgres(copy.url, { max: 1, onnotice: () => undefined });
  try {
    await sql`select pgstream.refresh_schema('public')`;
    expect(await idsIn({ ...copy, sql })).toEqual(before);
    await sql`select * from pgstream.reconcile()`;
    await expectLogInStep(sql);
  } finally {
    await sql.end();
    await admin.sql.unsafe(`drop database ${name}`);
  }
});

test('a table of an oid that came round again is another one', async () => {
  const database = await newDatabase();
  const { sql } = database;
  await sql.unsafe('create table old (a int)');
  const before = await idsIn(database);
  // the row of one table is made to stand for another, as if the oid had been used again
  await sql.unsafe(`set pgstream.skip_log = on; drop table old; create table new (a int, b int);
    reset pgstream.skip_log;
    update pgstream.table_ids set oid = 'new'::regclass::oid::bigint;
    alter table new add column c int`);
  const after = await idsIn(database);
  expect(Object.keys(after)).toEqual(['new']);
  expect(after['new']!.id).not.toBe(before['old']!.id);
  expect(Object.values(after['new']!.columns)).not.toContain(before['old']!.columns['a']);
  await sql`select * from pgstream.reconcile()`;
  await expectLogInStep(sql);
});

test('a column that is dropped and added again is new, also while nobody looks', async () => {
  const database = await newDatabase();
  const { sql } = database;
  await sql.unsafe('create table t (a int, b int)');
  const { t } = await idsIn(database);
  await sql.unsafe(`set pgstream.skip_log = on;
    alter table t drop b; alter table t add b int; alter table t rename a to c`);
  await sql`select * from pgstream.reconcile()`;
  const after = await idsIn(database);
  expect(after['t']).toEqual({ id: t!.id, columns: numbered(after, 't', { c: 1, b: 3 }) });
});

test('a privilege on a system column does not make a table another one', async () => {
  const database = await newDatabase();
  const { sql } = database;
  await sql.unsafe('create table t (a int)');
  const before = await idsIn(database);
  await sql.unsafe('grant select (tableoid) on t to public; alter table t add column b int');
  expect((await idsIn(database))['t']!.id).toBe(before['t']!.id);
});
