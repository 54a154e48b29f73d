import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { catalogue } from '../helpers/catalogue.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { hasPsql, install, pgstream, psqlFile, ways, type Way } from '../helpers/install.js';

/** The versions in the schema log, as lines of text. */
async function versions(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ line: string }[]>`
    select concat_ws(' ', l.schema_name, l.version, l.schema #>> '{tables,0,name}') as line
    from pgstream.schema_log l
    order by line`;
  return rows.map(({ line }) => line);
}

/** All that is installed. */
const installed = async ({ sql }: TestDatabase) => [
  ...(await catalogue(sql)),
  ...(await versions(sql)),
];

const objectsOfUser = `
  create schema theirs create table kept (id int primary key);
  create publication theirs for table theirs.kept;
  create function theirs.seen() returns event_trigger language plpgsql as 'begin end';
  create event trigger theirs on ddl_command_start execute function theirs.seen()`;

/** A database with things of a user in it, among them a slot. */
async function ownDatabase(): Promise<TestDatabase & { slots: string[] }> {
  const database = await createDatabase({ template: false });
  onTestFinished(() => database.drop());
  const slots = [`pgstream_${database.name}_slot`, `theirs_${database.name}`];
  await database.sql.unsafe(objectsOfUser);
  await database.sql`select pg_create_logical_replication_slot(${slots[1]!}, 'pgoutput')`;
  return { ...database, slots };
}

/** What there is in the database and is not Postgres' own, by name. */
async function everything(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select format('schema %s', nspname) as name from pg_namespace where oid >= 16384
    union all select format('relation %s', oid::regclass) from pg_class
      where oid >= 16384 and relnamespace <> 'pg_toast'::regnamespace
    union all select format('function %s', oid::regprocedure) from pg_proc where oid >= 16384
    union all select format('type %s', oid::regtype) from pg_type where oid >= 16384
    union all select format('publication %s', pubname) from pg_publication
    union all select format('event trigger %s', evtname) from pg_event_trigger
    union all select format('slot %s', slot_name) from pg_replication_slots
      where database = current_database()
    order by name`;
  return rows.map(({ name }) => name);
}

const remove = {
  async 'tear-down'(database: TestDatabase) {
    await pgstream(database, 'tear-down');
  },
  async 'migrate down'(database: TestDatabase) {
    await database.sql`drop publication if exists pgstream_control, pgstream_insert, pgstream_update`;
    await pgstream(database, 'migrate', 'down');
  },
  async psql(database: TestDatabase) {
    await psqlFile(database, 'uninstall.sql');
  },
};

const removals = (Object.keys(remove) as (keyof typeof remove)[]).filter(
  (way) => way !== 'psql' || hasPsql,
);

describe('one installation', () => {
  const databases: TestDatabase[] = [];
  const fresh = new Map<Way, string[]>();
  beforeAll(async () => {
    for (const way of ways) {
      const database = await createDatabase({ template: false });
      databases.push(database);
      await database.sql.unsafe(objectsOfUser);
      expect(await install[way](database)).not.toMatch(/warning/i);
      fresh.set(way, await installed(database));
    }
  });
  afterAll(async () => {
    for (const database of databases) await database.drop();
  });

  test('leaves the same catalogue whichever way it is made', () => {
    const expected = fresh.get('init')!;
    expect(expected.length).toBeGreaterThan(100);
    for (const way of ways) expect(fresh.get(way)).toEqual(expected);
  });

  test.each(ways)('is the same after %s once more, whatever the others did', async (way) => {
    for (const database of databases) {
      expect(await install[way](database)).not.toMatch(/warning/i);
      expect(await installed(database)).toEqual(fresh.get('init'));
    }
  });

  test('has its code restored, with what it was granted, by installing again', async () => {
    const [{ sql }] = [databases[1]!];
    await sql.unsafe(`
      create or replace function pgstream.is_system_schema(schema_name text) returns boolean
        language sql as 'select true';
      grant execute on function pgstream.is_system_schema to public;
      comment on table pgstream.schema_log is 'changed'`);
    await install.migrate(databases[1]!);
    expect(await installed(databases[1]!)).toEqual(fresh.get('init'));
  });
});

describe.each(removals)('%s', (way) => {
  test('leaves nothing of ours and all of the user’s, and can be repeated', async () => {
    const database = await ownDatabase();
    const before = await everything(database.sql);
    await install[way === 'tear-down' ? 'init' : 'migrate'](database);
    await database.sql.unsafe(`create table public.watched (id int primary key);
      insert into pgstream.webhook_subscriptions (url) values ('http://localhost/');
      drop table public.watched`);
    await remove[way](database);
    expect(await everything(database.sql)).toEqual(before);
    if (way !== 'psql') await remove[way](database);
    await install.migrate(database);
    await remove[way](database);
    expect(await everything(database.sql)).toEqual(before);
  });

  test.each([
    [
      'a view on the schema log',
      'create view theirs.log as select * from pgstream.schema_log',
      /theirs\.log|view/,
    ],
    [
      'a view on the status',
      'create view theirs.status as select * from pgstream.webhook_status',
      /theirs\.status|view/,
    ],
    ['a column of type xid', 'create table theirs.ids (id pgstream.xid)', /theirs\.ids/],
    [
      'a default that calls us',
      'create table theirs.d (id text default pgstream.xid())',
      /theirs\.d/,
    ],
  ])('refuses, changing nothing, where there is %s', async (_, object, message) => {
    const database = await ownDatabase();
    await install[way === 'tear-down' ? 'init' : 'migrate'](database);
    await database.sql.unsafe(object);
    if (way === 'migrate down') await database.sql`select pgstream.drop_publications()`;
    const before = [...(await installed(database)), ...(await everything(database.sql))];
    const removal = remove[way](database);
    await expect(removal).rejects.toThrow(message);
    expect([...(await installed(database)), ...(await everything(database.sql))]).toEqual(before);
  });
});
