/** A database is dumped, whole or in part, and restored on the same server. */
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { installSchema, removeSchema } from '../../src/install/schema.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { dumpAndRestore } from '../helpers/dump.js';
import { idsIn } from '../helpers/schema-ids.js';
import { expectLogInStep } from '../helpers/schema-log.js';

async function newDatabase(options?: { template: boolean }): Promise<TestDatabase> {
  const database = await createDatabase(options);
  onTestFinished(() => database.drop());
  return database;
}

async function withClient<T>({ url }: TestDatabase, work: (client: pg.Client) => Promise<T>) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const install = (database: TestDatabase) => withClient(database, installSchema);

/** Two tables, one of which is subscribed, and lacks a column that it had. */
async function databaseWithTables(): Promise<TestDatabase> {
  const database = await newDatabase();
  await database.sql.unsafe(`
    select pgstream.create_publications();
    create table t (a integer primary key, gone integer, b integer);
    alter table t drop gone;
    create table u (id serial);
    insert into pgstream.webhook_subscriptions (url, table_name) values ('http://localhost/', 't')`);
  return database;
}

const eventTriggers = ({ sql }: TestDatabase) => sql`
  select evtname as name, evtenabled as enabled from pg_event_trigger order by evtname`;
const published = ({ sql }: TestDatabase) => sql`
  select pubname as publication, tablename as table from pg_publication_tables order by 1, 2`;

test('over the database that it is of, it keeps the ids', async ({ skip }) => {
  const database = await databaseWithTables();
  const before = await idsIn(database);
  const [triggers, publications] = [await eventTriggers(database), await published(database)];
  const options = ['--clean', '--if-exists'];
  skip(!(await dumpAndRestore(database.url, database.url, ...options)), 'no pg_dump');

  await database.sql`alter table t add column c integer`;
  const after = await idsIn(database);
  expect(after).toEqual({
    ...before,
    t: { ...before['t'], columns: { ...before['t']!.columns, c: `${before['t']!.id}-4` } },
  });
  await database.sql`select * from pgstream.reconcile()`;
  await expectLogInStep(database.sql);
  expect(await database.sql`select * from pgstream.reconcile()`).toHaveLength(0);
  // it is found again once
  expect(await database.sql`select command_tag from pgstream.ddl_error`).toHaveLength(1);
  expect(await eventTriggers(database)).toEqual(triggers);
  expect(await published(database)).toEqual(publications);
});

test('without its data, it can be installed upon, and removed', async ({ skip }) => {
  const from = await databaseWithTables();
  const to = await newDatabase({ template: false });
  skip(!(await dumpAndRestore(from.url, to.url, '--schema-only')), 'no pg_dump');

  expect(await install(to)).toEqual([]);
  const names = ({ sql }: TestDatabase) => sql`select name from pgstream.migrations order by id`;
  expect(await names(to)).toEqual(await names(from));
  expect(await eventTriggers(to)).toEqual(await eventTriggers(from));
  await to.sql`alter table t add column c integer`;
  await expectLogInStep(to.sql);
  expect(Object.keys(await idsIn(to))).toEqual(['t', 'u']);
  await to.sql`select * from pgstream.reconcile()`;
  expect(await to.sql`select * from pgstream.reconcile()`).toHaveLength(0);

  const again = await newDatabase({ template: false });
  await dumpAndRestore(from.url, again.url, '--schema-only');
  expect(await withClient(again, removeSchema)).toBe(true);
  expect(await eventTriggers(again)).toHaveLength(0);
});

test('of schema pgstream alone, it finds the tables again by their names', async ({ skip }) => {
  const from = await databaseWithTables();
  const before = await idsIn(from);
  const to = await newDatabase({ template: false });
  await to.sql.unsafe('create table u (id serial); create table t (a integer primary key, b int)');
  skip(!(await dumpAndRestore(from.url, to.url, '--schema=pgstream')), 'no pg_dump');

  await install(to);
  expect(await idsIn(to)).toEqual(before);
  await expectLogInStep(to.sql);
  expect(await eventTriggers(to)).toEqual(await eventTriggers(from));
  await to.sql`select pgstream.create_publications()`;
  expect(await published(to)).toEqual(await published(from));
});
