import pg from 'pg';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { installSchema } from '../../src/install/schema.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { createRoles } from '../helpers/roles.js';
import { expectLogInStep } from '../helpers/schema-log.js';

async function newDatabase(): Promise<TestDatabase> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return database;
}

function session(url: string): postgres.Sql {
  const own = postgres(url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => own.end({ timeout: 0 }));
  return own;
}

const version = async (sql: postgres.Sql) => {
  const [row] = await sql<{ version: number }[]>`
    select current_setting('server_version_num')::integer as version`;
  return row!.version;
};

const subscribe = (table: string, filter?: string) =>
  `insert into pgstream.webhook_subscriptions (url, schema_name, table_name, filter)
   values ('http://localhost/${table}', 'public', '${table}', ${filter ? `'${filter}'` : 'null'})`;

const gaps = (sql: postgres.Sql) =>
  sql`select command_tag, sqlstate from pgstream.ddl_error where reconciled_at is null`;

const publishedFor = (sql: postgres.Sql, table: string) =>
  sql`select from pg_publication_tables where pubname like 'pgstream%' and tablename = ${table}`;

test('a role without rights holds no lock of ours, whatever keys it guesses', async () => {
  const { database, roles } = await createRoles({ nobody: '' });
  const { sql } = database;
  const { nobody } = roles;
  await sql`select pgstream.create_publications()`;
  for (const lock of ['pgstream.locks', 'pgstream.subscription_targets', 'pgstream.migrations']) {
    await expect(nobody.sql.begin((tx) => tx.unsafe(`lock table ${lock}`))).rejects.toMatchObject({
      code: '42501',
    });
  }
  const holder = session(nobody.url);
  await holder`
    select pg_advisory_lock(hashtextextended(format('pgstream.%s', k), 0))
    from unnest('{install,membership,publications,adopt,reconcile,schema_log.public,foreign}'::text[]) k`;
  const own = session(database.url);
  await own.unsafe(`set pgstream.lock_timeout = '0'`);
  await own.unsafe('create table t (id int primary key)');
  await own.unsafe(subscribe('t'));
  expect(await gaps(sql)).toEqual([]);
  expect(await publishedFor(sql, 't')).toHaveLength(2);
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  onTestFinished(() => client.end());
  expect(await installSchema(client)).toEqual([]);
});

test('a subscriber who locks all that it may holds up the DDL of nobody', async () => {
  const { database, roles } = await createRoles({ subscriber: '' });
  const { sql } = database;
  await sql`select pgstream.create_publications()`;
  await sql`select pgstream.grant_subscriber(${roles.subscriber.name}::regrole)`;
  await sql.unsafe('create table kept (id int primary key, n int)');
  await sql.unsafe(subscribe('*'));
  const holder = session(roles.subscriber.url);
  for (const table of ['webhook_subscriptions', 'deliveries']) {
    await holder.unsafe(`begin; lock table pgstream.${table} in access exclusive mode`);
    const own = session(database.url);
    await own.unsafe(`set pgstream.lock_timeout = '0'; create table made (id int primary key);
      alter table kept drop constraint kept_pkey; update kept set n = 1;
      alter table kept add primary key (id); drop table made; create table made ()`);
    expect(await gaps(sql)).toEqual([]);
    expect(await publishedFor(sql, 'made')).toHaveLength(1);
    await own.unsafe('drop table made');
    await holder.unsafe('rollback');
  }
  await expectLogInStep(sql);
});

test('a filter whose subscription is locked is looked at later', async () => {
  const database = await newDatabase();
  const { sql } = database;
  await sql.unsafe('create table t (id int primary key, n int)');
  await sql.unsafe(subscribe('t', 'new.n > 1'));
  const holder = session(database.url);
  await holder.unsafe('begin; lock table pgstream.webhook_subscriptions in access exclusive mode');
  const own = session(database.url);
  await own.unsafe(`set pgstream.lock_timeout = '20ms'; alter table t rename column n to m`);
  expect(await gaps(sql)).toEqual([{ command_tag: 'ALTER TABLE', sqlstate: '55P03' }]);
  await holder.unsafe('rollback');
  await sql`select pgstream.reconcile()`;
  expect(await gaps(sql)).toEqual([]);
  expect(await sql`select state from pgstream.webhook_status`).toEqual([{ state: 'invalid' }]);
});

test('DDL goes on while any table of ours is locked', async () => {
  const database = await newDatabase();
  const { sql } = database;
  await sql`select pgstream.create_publications()`;
  await sql.unsafe('create table t (id int primary key, n int)');
  await sql.unsafe(subscribe('t', 'new.n > 1'));
  await sql.unsafe(subscribe('*'));
  const tables = await sql<{ name: string }[]>`
    select relname as name from pg_class
    where relnamespace = 'pgstream'::regnamespace and relkind = 'r' order by 1`;
  const holder = session(database.url);
  const own = session(database.url);
  await own.unsafe(`set pgstream.lock_timeout = '20ms'; set statement_timeout = '10s'`);
  for (const { name } of tables) {
    await holder.unsafe(`begin; lock table pgstream.${name} in access exclusive mode`);
    await own.unsafe(`create table made (id int primary key); create index on made (id)`);
    await own.unsafe(
      `alter table t drop constraint t_pkey; alter table t alter n type bigint using n`,
    );
    await own.unsafe('update t set n = 2; delete from t where false');
    await own.unsafe('alter table t add primary key (id); alter table t alter n type int');
    await own.unsafe('drop table made');
    await holder.unsafe('rollback');
    await sql`select pgstream.reconcile()`;
    expect(await publishedFor(sql, 't'), name).toHaveLength(2);
  }
  await expectLogInStep(sql);
});

test('a statement never reaches a limit of its session because of us', async () => {
  const database = await newDatabase();
  const { sql } = database;
  const holder = session(database.url);
  await holder.unsafe('begin; create table a ()');
  const own = session(database.url);
  const limits = ['statement_timeout', 'lock_timeout'];
  if ((await version(sql)) >= 170_000) limits.push('transaction_timeout');
  await own.unsafe(`set pgstream.lock_timeout = '1h'`);
  for (const limit of limits) {
    await own.unsafe(`set ${limit} = '2s'`);
    const before = performance.now();
    await own.unsafe(`create table with_${limit} ()`);
    await own.unsafe(`do $$ begin create table d_${limit} (); create table e_${limit} (); end $$`);
    expect(performance.now() - before, limit).toBeLessThan(3_000);
    await own.unsafe(`reset ${limit}`);
  }
  expect((await gaps(sql)).length).toBeGreaterThanOrEqual(2 * limits.length);
  await holder.unsafe('commit');
  await sql`select pgstream.reconcile()`;
  await expectLogInStep(sql);
});

test('a lock is kept by a prepared transaction, and goes back with a savepoint', async () => {
  const database = await newDatabase();
  const [one, other] = [session(database.url), session(database.url)];
  const isFree = async (shared = false) => {
    const [row] = await other<{ free: boolean }[]>`
      select pgstream._try_lock('membership', ${shared}, now()) as free`;
    return row!.free;
  };
  await one.unsafe(`begin; savepoint s; select pgstream._try_lock('membership');
    rollback to savepoint s`);
  expect(await isFree()).toBe(true);
  const gid = `locks_${database.name}`;
  await one.unsafe(`select pgstream._try_lock('membership', shared => true);
    prepare transaction '${gid}'`);
  expect([await isFree(true), await isFree()]).toEqual([true, false]);
  await one.unsafe(`commit prepared '${gid}'`);
  expect(await isFree()).toBe(true);
});

test('names without a row of their own exclude each other as others do', async () => {
  const database = await newDatabase();
  const [one, other] = [session(database.url), session(database.url)];
  const take = (sql: postgres.Sql, what: string, shared = false) =>
    sql<{ got: boolean }[]>`select pgstream._try_lock(${what}, ${shared}, now()) as got`;
  for (const rows of ['all', 'none']) {
    if (rows === 'none') await other.unsafe('delete from pgstream.locks');
    for (const what of ['schema_log.a', 'cache.b', 'publications']) {
      await one.unsafe('begin');
      expect(await take(one, what)).toEqual([{ got: true }]);
      expect(await take(one, what, true)).toEqual([{ got: true }]);
      expect(await take(other, what), `${rows} ${what}`).toEqual([{ got: false }]);
      expect(await take(other, what, true)).toEqual([{ got: false }]);
      await one.unsafe('commit');
      expect(await take(other, what)).toEqual([{ got: true }]);
    }
  }
});

test('serializable transactions do not fail each other by the locks', async () => {
  const database = await newDatabase();
  const { sql } = database;
  await sql`select pgstream.create_publications()`;
  await sql.unsafe('create table t (id int primary key, n int)');
  await sql.unsafe(subscribe('t', 'new.n > 1'));
  await sql.unsafe(subscribe('*'));
  const sessions = [1, 2, 3].map(() => session(database.url));
  for (const own of sessions) await own.unsafe('begin isolation level serializable; select 1');
  for (const [i, own] of sessions.entries()) {
    await own.unsafe(`create table s${i} (id int primary key); insert into s${i} values (1)`);
    await own.unsafe(`drop index if exists nothing; alter table s${i} add n int`);
  }
  for (const own of sessions) await own.unsafe('commit');
  await sql`select pgstream.reconcile()`;
  expect(await publishedFor(sql, 's2')).toHaveLength(2);
  await expectLogInStep(sql);
});

test('who installs while somebody else does goes on from there', async () => {
  const database = await createDatabase({ template: false });
  onTestFinished(() => database.drop());
  const clients = [1, 2, 3].map(() => new pg.Client({ connectionString: database.url }));
  for (const client of clients) await client.connect();
  onTestFinished(async () => {
    for (const client of clients) await client.end();
  });
  const ran = await Promise.all(clients.map((client) => installSchema(client)));
  expect(ran.filter((names) => names.length === 0)).toHaveLength(2);
  const [row] = await database.sql`select count(*)::int as count from pgstream.migrations`;
  expect(ran.flat()).toHaveLength(row!['count'] as number);
});
