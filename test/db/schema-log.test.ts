import pg from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { installSchema } from '../../src/install/schema.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
let sql: postgres.Sql;
let count = 0;

beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());

interface Session extends postgres.Sql {
  notices: postgres.Notice[];
}

/** One connection whose unqualified names are those of a schema, and what the server told it. */
function session(schema: string): Session {
  const notices: postgres.Notice[] = [];
  const connection = { search_path: schema };
  const onnotice = (notice: postgres.Notice) => void notices.push(notice);
  const own = postgres(database.url, { max: 1, onnotice, connection });
  onTestFinished(() => own.end({ timeout: 0 }));
  return Object.assign(own, { notices });
}

async function newSchema(): Promise<{ schema: string; own: Session }> {
  const schema = `schema_${++count}`;
  await sql`create schema ${sql(schema)}`;
  return { schema, own: session(schema) };
}

interface Column {
  name: string;
  pgstream_id: string;
  [key: string]: unknown;
}
interface Table {
  oid: string;
  name: string;
  pgstream_id: string;
  columns: Column[];
}
interface Version {
  version: number;
  schema: { tables: Table[] | null; dropped?: true };
}

const versions = (schema: string) => sql<Version[]>`
  select version::integer, schema from pgstream.schema_log
  where schema_name = ${schema} order by version`;

async function last(schema: string): Promise<Version> {
  return (await versions(schema)).at(-1)!;
}

async function lastTable(schema: string, name: string): Promise<Table> {
  const { tables } = (await last(schema)).schema;
  return tables!.find((table) => table.name === name)!;
}

const errorsOf = (schema: string) => sql`
  select command_tag, sqlstate, reconciled_at from pgstream.ddl_error
  where schema_name = ${schema} order by id`;

/** The versions of a schema are 1, 2, 3 … and the last one says what the catalogs say. */
async function expectInStep(schema: string, length: number): Promise<void> {
  const all = await versions(schema);
  expect(all.map(({ version }) => version)).toEqual(Array.from({ length }, (_, i) => i + 1));
  const names = (all.at(-1)?.schema.tables ?? []).map(({ name }) => name);
  const tables = await sql<{ name: string }[]>`
    select relname as name from pg_class
    where relnamespace = (select oid from pg_namespace where nspname = ${schema})
      and relkind in ('r', 'p')
    order by relname collate "C"`;
  expect(names).toEqual(tables.map(({ name }) => name));
}

describe('one version for each statement that changes what a reader sees', () => {
  test('creating, altering and dropping tables and schemas', async () => {
    const { schema, own } = await newSchema();
    expect((await last(schema)).schema).toEqual({ tables: null });
    const statements = [
      'create table a (id serial primary key)',
      'create table b as select 1 as n',
      'select 1 as n into c',
      'alter table a add column b text not null, add unique (b)',
      'alter table a rename column b to c',
      `alter table a alter column c set default 'x'`,
      'alter table b rename to d',
      'drop table c, d',
      'drop table a cascade',
    ];
    for (const statement of statements) await own.unsafe(statement);
    await expectInStep(schema, 1 + statements.length);
    expect((await last(schema)).schema).toEqual({ tables: null });
    await own.unsafe(`drop schema ${schema}`);
    expect(await last(schema)).toEqual({
      version: 2 + statements.length,
      schema: { tables: null, dropped: true },
    });
    await own.unsafe(`create schema ${schema} create table t (id int) create view v as table t`);
    await expectInStep(schema, 3 + statements.length);
  });

  test('the document is exactly this', async () => {
    const { schema, own } = await newSchema();
    await own.unsafe(`
      create domain needed as text not null;
      create type mood as enum ('ok');
      create table "A b" (
        b int, "a" needed, id bigserial, m mood default 'ok', n numeric(10, 2) unique,
        g int generated always as (b * 2) stored, primary key (id, b));
      comment on column "A b".b is 'a note';
      create table zero ();
      create view seen as select 1;
      alter table "A b" drop column a, add column a varchar(5)[];`);
    const [oids] = await sql<{ a: string; z: string }[]>`
      select ${`${schema}."A b"`}::regclass::oid::text as a,
             ${`${schema}.zero`}::regclass::oid::text as z`;
    const { tables } = (await last(schema)).schema;
    const [id, zero] = tables!.map((table) => table.pgstream_id);
    const column = (n: number, name: string, type: string, more = {}) => ({
      pgstream_id: `${id}-${n}`,
      name,
      type,
      default: null,
      nullable: true,
      unique: false,
      metadata: null,
      ...more,
    });
    const sequence = `nextval('${schema}."A b_id_seq"'::regclass)`;
    expect(tables).toEqual([
      {
        oid: oids!.a,
        name: 'A b',
        pgstream_id: id,
        primary_key_columns: ['id', 'b'],
        columns: [
          column(1, 'b', 'integer', { nullable: false, metadata: 'a note' }),
          column(3, 'id', 'bigint', { nullable: false, default: sequence }),
          column(4, 'm', `${schema}.mood`, { default: `'ok'::${schema}.mood` }),
          column(5, 'n', 'numeric(10,2)', { unique: true }),
          column(6, 'g', 'integer', { default: '(b * 2)' }),
          column(7, 'a', 'character varying(5)[]'),
        ],
      },
      { oid: oids!.z, name: 'zero', pgstream_id: zero, primary_key_columns: [], columns: [] },
    ]);
    const [row] = await sql`
      select created_at > now() at time zone 'UTC' - interval '1 minute' as recent, acked,
             pgstream.xid_time(id) > now() - interval '1 minute' as made
      from pgstream.schema_log where schema_name = ${schema} order by version desc limit 1`;
    expect(row).toEqual({ recent: true, acked: false, made: true });
  });

  test('nothing for temporary tables, and nothing when nothing has changed', async () => {
    const { schema, own } = await newSchema();
    await own.unsafe('create table t (id int)');
    await own.unsafe('create temp table mine (id int)');
    await own.unsafe('create table if not exists t (id int)');
    await own.unsafe('alter table t set (fillfactor = 50)');
    await own.unsafe('drop table if exists missing');
    await own.unsafe('alter table mine add column b int');
    await own.unsafe('drop table mine');
    await own.unsafe('begin; create table u (); rollback');
    await own.unsafe('create table v ()');
    await expectInStep(schema, 3);
    expect(await sql`select from pgstream.schema_log where schema_name like 'pg\\_%'`).toEqual([]);
  });

  test('nothing while pgstream.skip_log is on, until the schema is refreshed', async () => {
    const { schema, own } = await newSchema();
    await own.unsafe('set pgstream.skip_log = on; create table t ()');
    expect(await versions(schema)).toHaveLength(1);
    expect(await sql`select pgstream.refresh_schema(${schema}) as v`).toEqual([{ v: '2' }]);
    expect(await sql`select pgstream.refresh_schema(${schema}) as v`).toEqual([{ v: '3' }]);
    await expectInStep(schema, 3);
  });

  test('both schemas of a table that moves', async () => {
    const from = await newSchema();
    const to = await newSchema();
    await from.own.unsafe('create table t (id int)');
    await from.own.unsafe(`alter table t set schema ${to.schema}`);
    await expectInStep(from.schema, 3);
    await expectInStep(to.schema, 2);
  });

  test('the schemas of the children of an altered table', async () => {
    const [parent, other] = [await newSchema(), await newSchema()];
    await parent.own.unsafe('create table p (id int)');
    await other.own.unsafe(`create table child () inherits (${parent.schema}.p)`);
    await parent.own.unsafe('alter table p add column added int');
    const { columns } = await lastTable(other.schema, 'child');
    expect(columns.map(({ name }) => name)).toEqual(['id', 'added']);
  });

  test('whoever runs the statement, with names of any kind', async () => {
    const schema = `Größe 'of" it`;
    const [s, t, role] = [`"Größe 'of"" it"`, '"a.b; c"', 'plain_user'];
    const own = session('public');
    await sql.unsafe(`create schema ${s}; create role ${role}`);
    await sql.unsafe(`grant all on schema ${s} to ${role}`);
    await own.unsafe(`set role ${role}`);
    await own.unsafe(`create table ${s}.${t} ("""q"" \\ " int)`);
    await own.unsafe(`alter table ${s}.${t} add column d int`);
    await expectInStep(schema, 3);
    const { columns } = await lastTable(schema, 'a.b; c');
    expect(columns.map(({ name }) => name)).toEqual(['"q" \\ ', 'd']);
    expect(own.notices).toEqual([]);
    await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
    await expectInStep(schema, 4);
  });
});

describe('ids', () => {
  test('stay through renames, moves and changes of type', async () => {
    const { schema, own } = await newSchema();
    const to = await newSchema();
    await own.unsafe('create table t (a int, b int)');
    const before = await lastTable(schema, 't');
    await own.unsafe(`alter table t rename to u; alter table u rename column a to c;
      alter table u alter column b type text; alter table u set schema ${to.schema};
      alter schema ${to.schema} rename to ${to.schema}_renamed`);
    await sql`select pgstream.refresh_schema(${`${to.schema}_renamed`})`;
    const after = await lastTable(`${to.schema}_renamed`, 'u');
    expect(after.pgstream_id).toBe(before.pgstream_id);
    expect(after.columns.map(({ name, pgstream_id: id }) => [name, id])).toEqual([
      ['c', before.columns[0]!.pgstream_id],
      ['b', before.columns[1]!.pgstream_id],
    ]);
  });

  test('are new for what is dropped and made again, and forgotten with the table', async () => {
    const { schema, own } = await newSchema();
    await own.unsafe('create table t (a int, b int); create table u ()');
    const first = await lastTable(schema, 't');
    await own.unsafe('alter table t drop column b; alter table t add column b int');
    const again = await lastTable(schema, 't');
    expect(again.columns.at(-1)!.pgstream_id).not.toBe(first.columns.at(-1)!.pgstream_id);
    await own.unsafe('drop table t; create table t (a int, b int)');
    const anew = await lastTable(schema, 't');
    expect(anew.pgstream_id).not.toBe(first.pgstream_id);
    await own.unsafe(`drop schema ${schema} cascade`);
    const left = await sql`
      select id from pgstream.table_ids
      where id in ${sql([first.pgstream_id, anew.pgstream_id])}
         or not exists (select from pg_class c where c.oid = table_ids.oid)`;
    expect(left).toEqual([]);
  });
});

describe('statements that run at the same time', () => {
  test('twenty tables made at once give twenty versions', async () => {
    const { schema } = await newSchema();
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const own = session(schema);
        await own.unsafe(`set pgstream.lock_timeout = '20s'`);
        await own.unsafe(`create table t${i} (id int)`);
      }),
    );
    await expectInStep(schema, 21);
  });

  test('one that cannot be logged in time succeeds with a warning, and is made up for', async () => {
    const { schema, own } = await newSchema();
    const other = session(schema);
    await other.unsafe(`set pgstream.lock_timeout = '50ms'`);
    await own.begin(async (tx) => {
      await tx`create table a ()`;
      await other`create table b ()`;
    });
    expect(other.notices).toMatchObject([
      {
        severity: 'WARNING',
        message: expect.stringContaining(schema),
        hint: 'select pgstream.reconcile();',
      },
    ]);
    expect(await errorsOf(schema)).toMatchObject([
      { command_tag: 'CREATE TABLE', sqlstate: '55P03', reconciled_at: null },
    ]);
    await sql`select pgstream.reconcile()`;
    await expectInStep(schema, 3);
    expect((await errorsOf(schema))[0]!['reconciled_at']).not.toBeNull();
  });

  test('what a REPEATABLE READ transaction could not see is made up for', async () => {
    const { schema, own } = await newSchema();
    await own.begin('isolation level repeatable read', async (tx) => {
      await tx`select 1`;
      await session(schema)`create table seen_too_late ()`;
      await tx`create table t ()`;
    });
    expect(await errorsOf(schema)).toMatchObject([{ reconciled_at: null }]);
    await sql`select pgstream.reconcile()`;
    await expectInStep(schema, (await versions(schema)).length);
  });

  test('two SERIALIZABLE transactions in two schemas both commit', async () => {
    const [one, two] = [await newSchema(), await newSchema()];
    await one.own.begin('isolation level serializable', async (first) => {
      await first`create table a ()`;
      await two.own.begin('isolation level serializable', async (second) => {
        await second`create table b ()`;
      });
      await first`alter table a add column id int`;
    });
    await sql`select pgstream.reconcile()`;
    expect(await lastTable(one.schema, 'a')).toMatchObject({ columns: [{ name: 'id' }] });
    expect(await lastTable(two.schema, 'b')).toMatchObject({ columns: [] });
  });
});

test.each([
  ['the log', ['schema_log']],
  ['the log and the list of errors', ['schema_log', 'ddl_error']],
  ['the list of ids', ['table_ids']],
])('no statement fails when %s cannot be written', async (_, broken) => {
  const { schema, own } = await newSchema();
  await own.unsafe('create table old (id int); create table older (id int)');
  await sql.unsafe(`create or replace function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'refused' using errcode = 'disk_full'; end $$`);
  for (const table of broken) {
    await sql.unsafe(`create trigger refuse before insert or update or delete on pgstream.${table}
      for each statement execute function refuse()`);
  }
  try {
    await own.unsafe('create table t (id int)');
    await own.unsafe('alter table old add column b int');
    await own.unsafe('begin; drop table older; create table u (); commit');
    await own.unsafe('drop table t');
  } finally {
    for (const table of broken) await sql.unsafe(`drop trigger refuse on pgstream.${table}`);
  }
  expect(own.notices.filter(({ severity }) => severity !== 'WARNING')).toEqual([]);
  expect(own.notices.length).toBeGreaterThan(0);
  await sql`select pgstream.reconcile()`;
  expect((await last(schema)).schema.tables!.map(({ name }) => name)).toEqual(['old', 'u']);
});

test('reconcile logs what was changed unseen, once', async () => {
  const [made, gone] = [await newSchema(), await newSchema()];
  await gone.own.unsafe('create table t ()');
  await sql`select pgstream.reconcile()`;
  await made.own.unsafe(`set pgstream.skip_log = on; create table t (id int);
    drop schema ${gone.schema} cascade; create schema empty_one`);
  const written = await sql`select schema_name, version::integer from pgstream.reconcile()`;
  expect([...written]).toEqual([
    { schema_name: made.schema, version: 2 },
    { schema_name: gone.schema, version: 3 },
  ]);
  expect((await last(gone.schema)).schema).toEqual({ tables: null, dropped: true });
  expect(await sql`select * from pgstream.reconcile()`).toHaveLength(0);
});

test('installing logs version 1 of each schema that has a table', async () => {
  const fresh = await createDatabase({ template: false });
  onTestFinished(() => fresh.drop());
  await fresh.sql.unsafe(`create schema app create table t (id int); create schema empty_one;
    create table u (id int); create view v as table u`);
  const client = new pg.Client({ connectionString: fresh.url });
  await client.connect();
  await installSchema(client);
  await installSchema(client);
  await client.end();
  const logged = await fresh.sql`
    select schema_name, version::integer, schema -> 'tables' -> 0 ->> 'name' as first
    from pgstream.schema_log order by schema_name`;
  expect([...logged]).toEqual([
    { schema_name: 'app', version: 1, first: 't' },
    { schema_name: 'public', version: 1, first: 'u' },
  ]);
});
