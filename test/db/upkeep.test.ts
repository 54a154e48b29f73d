import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { eventually } from '../helpers/poll.js';

async function newDatabase(): Promise<TestDatabase & { version: number }> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const { sql } = database;
  await sql`select pgstream.create_publications()`;
  const [row] = await sql<{ version: number }[]>`
    select current_setting('server_version_num')::integer as version`;
  return { ...database, version: row!.version };
}

function session({ url }: TestDatabase, notices: postgres.Notice[] = []): postgres.Sql {
  const own = postgres(url, { max: 1, onnotice: (notice) => void notices.push(notice) });
  onTestFinished(() => own.end({ timeout: 0 }));
  return own;
}

const subscribe = (sql: postgres.Sql, table = '*') =>
  sql`insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
      values ('http://localhost/', 'public', ${table})`.execute();

async function updated(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select c.relname as name from pg_publication_rel r
    join pg_publication p on p.oid = r.prpubid and p.pubname = 'pgstream_update'
    join pg_class c on c.oid = r.prrelid order by 1`;
  return rows.map(({ name }) => name);
}

const write = 'update t set n = 2; update t set n = 3 where false; delete from t where n = 1';
const table = 'create table t (id int primary key, n int)';
const chosen = `create table t (id int, n int not null); create unique index t_n on t (n);
  alter table t replica identity using index t_n`;
const full = 'create table t (n int); alter table t replica identity full';
const parts = `create table t (id int primary key, n int) partition by range (id);
  create table t1 partition of t for values from (0) to (10);
  create table t2 partition of t for values from (10) to (20)`;

/** From a table that is published for updates to one whose updates Postgres would refuse. */
const losses: [made: string, lost: string, since?: number][] = [
  [table, 'alter table t drop constraint t_pkey'],
  [table, 'alter table t drop column id'],
  [table, 'alter table t replica identity nothing'],
  [chosen, 'drop index t_n'],
  [chosen, 'alter table t replica identity default'],
  [full, 'alter table t replica identity default'],
  [parts, 'alter table t1 replica identity nothing'],
  [parts, 'alter table t drop constraint t_pkey'],
  [
    `${full}; create table child (id int primary key) inherits (t)`,
    'alter table t add g int generated always as (n * 2) virtual',
    180_000,
  ],
  [full, 'alter table t add g int generated always as (n * 2)', 180_000],
  [
    `create table t (n int) partition by range (n); alter table t replica identity full;
     create table t1 partition of t for values from (0) to (10);
     alter table t1 replica identity full`,
    'create table t2 partition of t for values from (10) to (20)',
  ],
  [
    `create table t (n int) partition by range (n); alter table t replica identity full;
     create table t2 (n int)`,
    'alter table t attach partition t2 for values from (10) to (20)',
  ],
  [
    'create type pair as (a int, b int); create table t (id pair primary key, n int)',
    'drop type pair cascade',
  ],
  [
    `create schema away; create domain away.key as int;
     create table t (id away.key primary key, n int)`,
    'drop schema away cascade',
  ],
  [table, `do $$ begin execute 'alter table t drop constraint t_pkey'; end $$`],
  [
    table,
    `set session_replication_role = replica; alter table t drop constraint t_pkey;
     reset session_replication_role`,
  ],
  [table, `begin; savepoint s; alter table t drop constraint t_pkey; release savepoint s; commit`],
];

test.each(losses)('without capture of DDL, too: %s; %s', async (made, lost, since = 0) => {
  const database = await newDatabase();
  if (database.version < since) return;
  const { sql } = database;
  const own = session(database);
  await sql`select pgstream.disable_ddl_capture()`;
  await own.unsafe(made);
  await subscribe(sql);
  expect(await updated(sql)).toContain('t');
  await own.unsafe(`${lost}; ${write}`);
  expect(await updated(sql)).not.toContain('t');
  expect(await sql`select from pgstream.ddl_error where sqlstate <> '01000'`).toHaveLength(0);
});

test('what Postgres would refuse is not published in the first place', async () => {
  const database = await newDatabase();
  const { sql, version } = database;
  const own = session(database);
  await own.unsafe(`
    create table deferred (id int, n int, primary key (id) deferrable);
    create table generated (n int, s int not null generated always as (n * 2) stored);
    alter table generated replica identity full;
    create table mixed (n int primary key) partition by range (n);
    create table mixed_1 partition of mixed for values from (0) to (10);
    create unlogged table mixed_2 partition of mixed for values from (10) to (20);
    alter table mixed_2 replica identity nothing`);
  if (version >= 180_000) {
    await own.unsafe(`create table virtual (id int primary key, v int generated always as (id));
      alter table virtual replica identity full`);
  }
  await subscribe(sql);
  expect(await updated(sql)).toEqual(['generated', 'mixed']);
  await own.unsafe('update deferred set n = 1; update generated set n = 1; update mixed set n = 1');
  if (version < 180_000) return;
  const [remedy] = await sql`select pgstream._identity_remedy('virtual'::regclass) as sql`;
  expect(remedy).toEqual({ sql: 'alter table public.virtual replica identity default;' });
  await own.unsafe(`update virtual set id = 1; ${remedy!['sql']}`);
  expect(await updated(sql)).toEqual(['generated', 'mixed', 'virtual']);
  await own.unsafe('update virtual set id = 1');
  // as a database that comes from an older major by pg_upgrade
  await own.unsafe('alter publication pgstream_update set (publish_generated_columns = none)');
  await own.unsafe('alter table generated add m int; select pgstream.sync_publications()');
  expect(await updated(sql)).toEqual(['mixed', 'virtual']);
  await own.unsafe('update generated set n = 1');
});

/** Two sessions: one has changed the publication, and the other loses an identity. */
async function conflict() {
  const database = await newDatabase();
  const { sql } = database;
  await sql.unsafe(`create table a (id int primary key, n int); insert into a values (1, 1);
    create table b (id int primary key, n int); insert into b values (1, 1)`);
  await subscribe(sql);
  const warnings: postgres.Notice[] = [];
  const [one, other] = [session(database), session(database, warnings)];
  for (const own of [one, other]) await own.unsafe(`set deadlock_timeout = '200ms'`);
  return { database, sql, one, other, warnings };
}

const identities = (sql: postgres.Sql) =>
  sql`select relname, relreplident from pg_class where relname in ('a', 'b') order by 1`;

test('two who lose an identity each, and write to the table of the other, both go on', async () => {
  const { sql, one, other, warnings } = await conflict();
  await other.unsafe(`set pgstream.lock_timeout = '1s'`);
  await one.unsafe('begin; alter table a drop constraint a_pkey');
  const [backend] = await one<{ pid: number }[]>`select pg_backend_pid() as pid`;
  const lost = other.unsafe('begin; alter table b drop constraint b_pkey').execute();
  await eventually(async () => {
    const locks = await sql`select from pg_locks where relation = 'b'::regclass
      and mode = 'AccessExclusiveLock' and granted`;
    expect(locks).toHaveLength(1);
  });
  const written = one.unsafe('update b set n = 2; commit').execute();
  await eventually(async () => {
    const waits = await sql`select from pg_locks where pid = ${backend!.pid} and not granted`;
    expect(waits).toHaveLength(1);
  });
  await lost;
  await other.unsafe('update b set n = 3; commit');
  await written;
  await other.unsafe('update b set n = 4; update a set n = 4');
  expect(warnings.map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/b has another replica identity/),
  );
  expect(await identities(sql)).toEqual([
    { relname: 'a', relreplident: 'd' },
    { relname: 'b', relreplident: 'f' },
  ]);
  await sql`select pgstream.reconcile()`;
  expect(await updated(sql)).toEqual([]);
  expect((await identities(sql))[1]).toEqual({ relname: 'b', relreplident: 'd' });
  await other.unsafe('update b set n = 5');
  expect(await sql`select from pgstream.lent_identities`).toHaveLength(0);
  expect(await sql`select from pgstream.ddl_error where reconciled_at is null`).toHaveLength(0);
});

test.each([
  ['a transaction that is prepared', 'alter table a drop constraint a_pkey'],
  ['an administrator', 'alter publication pgstream_update drop table only a'],
])('%s holds up nobody who loses an identity', async (_, held) => {
  const { database, sql, one, other } = await conflict();
  if (database.version < 150_000) return; // no lock on the publication
  await one.unsafe(`begin; ${held}; prepare transaction '${database.name}'`);
  await other.unsafe(`set pgstream.lock_timeout = '50ms'; alter table b drop constraint b_pkey`);
  await other.unsafe('update b set n = 2');
  // a key of its own again: it is published as before
  await other.unsafe('alter table b add primary key (id)');
  await one.unsafe(`commit prepared '${database.name}'`);
  await sql`select pgstream.reconcile()`;
  expect((await identities(sql))[1]).toEqual({ relname: 'b', relreplident: 'd' });
  expect(await updated(sql)).toContain('b');
  await other.unsafe('update b set n = 3');
});

test('without any upkeep, the exception is told, and can be declined', async () => {
  const database = await newDatabase();
  const { sql } = database;
  const notices: postgres.Notice[] = [];
  const own = session(database, notices);
  const told = () => notices.splice(0).map(({ severity, message }) => `${severity}: ${message}`);
  await sql.unsafe(table);
  await own`select pgstream.disable_ddl_capture(upkeep => true)`;
  expect(told()).toContainEqual(expect.stringMatching(/WARNING.*identity fail/));
  await subscribe(own);
  expect(told()).toContainEqual(expect.stringMatching(/NOTICE.*identity fail/));
  expect(await updated(sql)).toEqual(['t']);
  const state = async () => {
    const [row] = await sql`select state, hint from pgstream.status where subject like 'updates%'`;
    return row;
  };
  expect(await state()).toMatchObject({ state: 'published without upkeep' });

  await own`select pgstream.set_updates_without_upkeep('skip')`;
  expect(await updated(sql)).toEqual([]);
  expect(await state()).toMatchObject({ state: 'skipped' });
  await own.unsafe(
    `alter table t drop constraint t_pkey; ${write}; alter table t add primary key (id)`,
  );
  told();
  await subscribe(own, 't');
  expect(told()).toContainEqual(expect.stringMatching(/NOTICE.*updates and deletes are not sent/));
  await sql`select pgstream.reconcile()`;
  expect(await updated(sql)).toEqual([]);

  await own`select pgstream.enable_ddl_capture()`;
  expect(await updated(sql)).toEqual(['t']);
  expect(await state()).toMatchObject({ state: 'published', hint: null });
  await expect(own`select pgstream.set_updates_without_upkeep('no')`).rejects.toMatchObject({
    code: '22023',
    hint: expect.stringContaining("set_updates_without_upkeep('skip')"),
  });
});

test('a setting that switches event triggers off counts as none', async () => {
  const database = await newDatabase();
  if (database.version < 170_000) return;
  const { sql, name } = database;
  await sql.unsafe(`${table}; select pgstream.set_updates_without_upkeep('skip')`);
  await subscribe(sql);
  expect(await updated(sql)).toEqual(['t']);
  await sql`select pgstream.reconcile()`;
  await sql.unsafe(`alter database ${name} set event_triggers = off`);
  await sql`select pgstream.reconcile()`;
  expect(await updated(sql)).toEqual([]);
  await sql.unsafe(`alter database ${name} set event_triggers = on`);
  await sql`select pgstream.reconcile()`;
  expect(await updated(sql)).toEqual(['t']);
});
