import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { installSchema } from '../../src/install/schema.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { expectLogInStep } from '../helpers/schema-log.js';

async function newDatabase(options?: { template: boolean }): Promise<TestDatabase> {
  const database = await createDatabase(options);
  onTestFinished(() => database.drop());
  return database;
}

const mode = ({ sql }: TestDatabase) =>
  sql`select state, hint is null as well from pgstream.status order by subject`;

test('an ALTER that changes values unseen is recorded where it stands', async () => {
  const { sql } = await newDatabase();
  await sql.unsafe(`create table t (id int, v int); create temp table mine (id int);
    insert into t values (1, 2);
    alter table t alter column v type bigint using v * 100;
    alter table t add column r float default random();
    alter table t add column s int default 7;
    alter table mine alter column id type bigint;
    do $$ begin alter table t alter column v type numeric; raise division_by_zero;
      exception when division_by_zero then null; end $$;
    set pgstream.skip_log = on; alter table t alter column v type text; reset pgstream.skip_log;
    create table p (id int, v int) partition by list (id);
    create table p1 partition of p for values in (1);
    alter table p alter column v type bigint`);
  await sql`vacuum full t`;
  const rows = await sql`
    select r.schema_name, r.table_name, r.reason, i.id = r.table_id as known
    from pgstream.table_rewrites r join pgstream.table_ids i using (oid) order by r.id`;
  expect([...rows]).toEqual([
    { schema_name: 'public', table_name: 't', reason: 4, known: true },
    { schema_name: 'public', table_name: 't', reason: 2, known: true },
    { schema_name: 'public', table_name: 'p1', reason: 4, known: true },
  ]);
});

test('no ALTER fails when the rewrite cannot be recorded', async () => {
  const { sql } = await newDatabase();
  await sql.unsafe('create table t (id int); alter table pgstream.table_rewrites rename to gone');
  await sql.unsafe('alter table t alter column id type bigint');
  expect(await sql`select sqlstate from pgstream.ddl_error`).toEqual([{ sqlstate: '42P01' }]);
});

test.each([
  'dropped',
  'lock_timeout',
  'schema_log_full_limit',
  'gave_up',
  'skip_log',
  'deadline',
  'own_change',
])('no statement fails when pgstream.%s is set to nonsense', async (setting) => {
  const { sql } = await newDatabase();
  await sql.unsafe(`set pgstream.${setting} = 'nonsense'; create table t (id int primary key);
      alter table t drop column id; drop table t; reset pgstream.${setting}`);
  await sql`select * from pgstream.reconcile()`;
  await expectLogInStep(sql);
});

test('a runner reads the record of a rewrite from the log', async () => {
  const { sql } = await newDatabase();
  await sql`select pgstream.create_publications()`;
  const published = sql`
    select from pg_publication_tables
    where pubname = 'pgstream_control' and tablename = 'table_rewrites'`;
  expect(await published).toHaveLength(1);
  await sql`alter publication pgstream_control drop table pgstream.table_rewrites`;
  await sql`select pgstream.create_publications()`;
  expect(await published.simple()).toHaveLength(1);
});

test('what an extension makes is not logged, what becomes of its users is', async (context) => {
  const { sql } = await newDatabase();
  const [found] = await sql`select from pg_available_extensions where name = 'hstore'`;
  context.skip(!found, 'hstore is not installed');
  await sql.unsafe(`create schema app; create extension hstore schema app;
    create table app.t (id int, h app.hstore)`);
  await sql`drop extension hstore cascade`;
  const rows = await sql`
    select version::int, schema #> '{tables,0,columns,1,type}' as type
    from pgstream.schema_log order by version`;
  expect([...rows]).toEqual([
    { version: 1, type: null },
    { version: 2, type: 'app.hstore' },
    { version: 3, type: null },
  ]);
  await expectLogInStep(sql);
});

test('capture can be switched off, and on again with what was missed', async () => {
  const database = await newDatabase();
  const { sql } = database;
  await sql`create table before (id int)`;
  expect(await mode(database)).toEqual([
    { state: 'followed', well: true },
    { state: '0', well: true },
    { state: 'published', well: true },
  ]);
  await sql`select pgstream.disable_ddl_capture()`;
  expect(
    await sql`select evtname from pg_event_trigger where evtname like 'pgstream%' order by 1`,
  ).toEqual([{ evtname: 'pgstream_upkeep' }, { evtname: 'pgstream_upkeep_drop' }]);
  expect((await mode(database))[0]).toEqual({ state: 'reconciled', well: false });
  await sql`create table meanwhile (id int)`;
  await sql`alter table before rename to kept`;
  expect(await sql`select version::int from pgstream.enable_ddl_capture()`).toEqual([
    { version: 2 },
  ]);
  await sql`create table after (id int)`;
  await expectLogInStep(sql);
  expect((await mode(database))[0]).toEqual({ state: 'followed', well: true });
  expect(await sql`select max(version)::int as last from pgstream.schema_log`).toEqual([
    { last: 3 },
  ]);
});

test('an owner of no other right installs all the rest, and reconciles', async () => {
  const database = await newDatabase({ template: false });
  const role = `owner_${database.name}`;
  await database.sql.unsafe(`create role ${role} login;
    grant create on database ${database.name} to ${role}`);
  const url = new URL(database.url);
  url.username = role;
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  onTestFinished(async () => {
    await client.end();
    await database.sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
  });
  const warnings: string[] = [];
  await installSchema(client, (text) => void warnings.push(text));
  expect(warnings).toEqual([
    expect.stringMatching(/may not create event triggers.*pgstream\.reconcile\(\)/),
    expect.stringMatching(/loses its replica identity fail.*set_updates_without_upkeep\('skip'\)/),
  ]);
  await client.query('create schema mine create table t (id int primary key)');
  const reconcile = async () => (await client.query('select * from pgstream.reconcile()')).rows;
  expect(await reconcile()).toEqual([{ schema_name: 'mine', version: '1' }]);
  expect(await reconcile()).toEqual([]);
  await client.query('alter table mine.t rename to u; alter table mine.u add n int');
  expect(await reconcile()).toEqual([{ schema_name: 'mine', version: '2' }]);
  await expectLogInStep(database.sql);
  const { rows } = await client.query('select state, hint from pgstream.status order by subject');
  expect(rows[0]).toMatchObject({
    state: 'reconciled',
    hint: expect.stringMatching(/enable_ddl_capture/),
  });
  await expect(client.query('select pgstream.enable_ddl_capture()')).rejects.toMatchObject({
    code: '42501',
  });
});
