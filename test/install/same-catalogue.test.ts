import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { startRunner } from '../helpers/runner.js';

const root = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

/** Runs a file of sql/ with psql; rejects with what psql printed. */
const psqlFile = ({ url }: TestDatabase, file: string) =>
  run('psql', ['-X', url, '-f', path.join(root, 'sql', file)]);

const hasPsql = await run('psql', ['--version']).then(
  () => true,
  () => false,
);
if (!hasPsql) console.warn('no psql on PATH: installing and removing with psql is not tested');

/** Runs the command line; answers what it printed for people. Rejects when it fails. */
async function pgstream({ url }: TestDatabase, ...args: string[]): Promise<string> {
  const runner = startRunner(args, { env: { PGSTREAM_POSTGRES_LISTENER_URL: url } });
  const { code } = await runner.exited;
  if (code !== 0) throw new Error(`exit code ${code}: ${runner.stderr}`);
  return runner.stderr;
}

const createPublications = ({ sql }: TestDatabase) => sql`select pgstream.create_publications()`;

const install = {
  async init(database: TestDatabase) {
    await pgstream(database, 'init');
  },
  async migrate(database: TestDatabase) {
    await pgstream(database, 'migrate', 'up');
    await createPublications(database);
  },
  async psql(database: TestDatabase) {
    await psqlFile(database, 'install.sql');
    await createPublications(database);
  },
};
type Way = keyof typeof install;

/** Everything that the catalogs know of pgstream, by name, as sorted lines of text. */
async function catalogue(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ line: string }[]>`
    with relations as (
      select c.*, c.oid::regclass as name from pg_class c
      where c.relnamespace = 'pgstream'::regnamespace
    ), objects (kind, classid, objid, definition, acl) as (
      select 'schema', 'pg_namespace'::regclass, n.oid, n.nspname::text, n.nspacl
      from pg_namespace n where n.nspname = 'pgstream'
      union all
      select format('relation %s', c.relkind), 'pg_class'::regclass, c.oid,
             concat_ws(' ', c.name, c.relpersistence, c.relreplident, c.reloptions,
                       pg_get_viewdef(c.oid), to_jsonb(s) - 'seqrelid' - 'seqtypid'),
             c.relacl
      from relations c left join pg_sequence s on s.seqrelid = c.oid
      union all
      select 'function', 'pg_proc'::regclass, p.oid,
             concat_ws(' ', pg_get_functiondef(p.oid), p.procost, p.prorows, p.proleakproof),
             p.proacl
      from pg_proc p where p.pronamespace = 'pgstream'::regnamespace
      union all
      select format('type %s', t.typtype), 'pg_type'::regclass, t.oid,
             concat_ws(' ', t.oid::regtype, t.typnotnull, t.typdefault,
                       format_type(t.typbasetype, t.typtypmod)),
             t.typacl
      from pg_type t where t.typnamespace = 'pgstream'::regnamespace and t.typcategory <> 'A'
      union all
      select 'constraint', 'pg_constraint'::regclass, k.oid,
             concat_ws(' ', nullif(k.conrelid, 0)::regclass, nullif(k.contypid, 0)::regtype,
                       k.conname, pg_get_constraintdef(k.oid), k.convalidated),
             null
      from pg_constraint k where k.connamespace = 'pgstream'::regnamespace
      union all
      select 'index', 'pg_index'::regclass, i.indexrelid,
             concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisreplident), null
      from pg_index i join relations c on c.oid = i.indrelid
      union all
      select 'trigger', 'pg_trigger'::regclass, t.oid,
             concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled), null
      from pg_trigger t join relations c on c.oid = t.tgrelid and not t.tgisinternal
      union all
      select 'event trigger', 'pg_event_trigger'::regclass, e.oid,
             concat_ws(' ', e.evtname, e.evtevent, e.evttags, e.evtenabled, e.evtfoid::regproc),
             null
      from pg_event_trigger e where e.evtname like 'pgstream%'
      union all
      select 'publication', 'pg_publication'::regclass, p.oid,
             concat_ws(' ', to_jsonb(p) - 'oid' - 'pubowner',
                       (select array_agg(r.prrelid::regclass order by 1)
                        from pg_publication_rel r where r.prpubid = p.oid)),
             null
      from pg_publication p where p.pubname like 'pgstream%'
    )
    select concat_ws(E'\n  ', o.kind, o.definition, o.acl::text,
                     obj_description(o.objid, o.classid::text)) as line
    from objects o
    union all
    select concat_ws(' ', 'column', c.name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                     a.attnotnull, a.attidentity, a.attgenerated, a.attstattarget, a.attstorage,
                     a.attacl, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
    from relations c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    union all
    select concat_ws(' ', 'migration', m.id, m.name) from pgstream.migrations m
    union all
    select concat_ws(' ', 'version', l.schema_name, l.version, l.schema #>> '{tables,0,name}')
    from pgstream.schema_log l
    order by line`;
  return rows.map(({ line }) => line);
}

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

const ways: Way[] = hasPsql ? ['init', 'migrate', 'psql'] : ['init', 'migrate'];
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
      await install[way](database);
      fresh.set(way, await catalogue(database.sql));
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
      await install[way](database);
      expect(await catalogue(database.sql)).toEqual(fresh.get('init'));
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
    expect(await catalogue(sql)).toEqual(fresh.get('init'));
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
    const before = [...(await catalogue(database.sql)), ...(await everything(database.sql))];
    const removal = remove[way](database);
    await expect(removal).rejects.toThrow(message);
    expect([...(await catalogue(database.sql)), ...(await everything(database.sql))]).toEqual(
      before,
    );
  });
});
