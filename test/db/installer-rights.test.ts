/** Nobody's code runs with the rights of who installs, or of who changes a table. */
import pg from 'pg';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { installSchema } from '../../src/install/schema.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { createRoles } from '../helpers/roles.js';

async function installed(url: string, onWarning?: (text: string) => void): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await installSchema(client, onWarning);
  } finally {
    await client.end();
  }
}

/** An empty database, and a role that may make schemas in it. */
async function withRole(): Promise<{ database: TestDatabase; sql: postgres.Sql; mallory: string }> {
  const database = await createDatabase({ template: false });
  const { sql } = database;
  const mallory = `mallory_${database.name.slice(5)}`;
  await sql.unsafe(`
    create role ${mallory};
    grant create on database ${database.name} to ${mallory};
    create sequence marks;
    grant usage on sequence marks to public`);
  onTestFinished(async () => {
    await sql.unsafe(`drop owned by ${mallory} cascade; drop role ${mallory}`);
    await database.drop();
  });
  return { database, sql, mallory };
}

const marks = async (sql: postgres.Sql) => {
  const [row] = await sql<{ made: boolean }[]>`select is_called as made from marks`;
  return row!.made;
};

test.each([
  ['the schema', 'create schema pgstream'],
  [
    'a ledger with a trigger',
    `create schema pgstream;
     create table pgstream.migrations (
       id serial primary key, name varchar(255) not null, run_on timestamp not null);
     create function pgstream.mark() returns trigger language plpgsql
       as $$ begin perform nextval('public.marks'); return new; end $$;
     create trigger mark before insert on pgstream.migrations
       for each row execute function pgstream.mark()`,
  ],
])('an installation does not begin where somebody else has made %s', async (_, made) => {
  const { database, sql, mallory } = await withRole();
  await sql.unsafe(`set role ${mallory}; ${made}; reset role`);
  await expect(installed(database.url)).rejects.toMatchObject({
    code: '42501',
    message: expect.stringMatching(mallory),
    hint: expect.stringMatching(/set role|drop schema/),
  });
  expect(await marks(sql)).toBe(false);
});

test('default privileges give nobody anything of ours, and make no role one of a kind', async () => {
  const { database, sql, mallory } = await withRole();
  await sql.unsafe(`
    alter default privileges grant all on functions to ${mallory};
    alter default privileges grant all on tables to ${mallory};
    alter default privileges grant all on sequences to ${mallory};
    alter default privileges grant all on schemas to ${mallory}`);
  await installed(database.url);
  const given = () => sql`
    select c.oid::regclass::text as name from pg_class c, aclexplode(c.relacl) a
    where c.relnamespace = 'pgstream'::regnamespace and a.grantee = ${mallory}::regrole
    union all
    select p.oid::regprocedure::text from pg_proc p, aclexplode(p.proacl) a
    where p.pronamespace = 'pgstream'::regnamespace and a.grantee = ${mallory}::regrole
    union all
    select 'schema' from pg_namespace n, aclexplode(n.nspacl) a
    where n.nspname = 'pgstream' and a.grantee = ${mallory}::regrole`;
  expect(await given()).toEqual([]);
  await sql`select pgstream.grant_emitter(${mallory}::regrole)`;
  await sql`grant select on pgstream.ddl_error to ${sql(mallory)}`;
  const before = await given();
  expect(before).toHaveLength(3);
  await installed(database.url);
  expect(await given()).toEqual(before);
});

test('a cast to json of a type of somebody is not called for the schema log', async () => {
  const { database, roles } = await createRoles({ mallory: '' });
  const { sql } = database;
  const { name } = roles.mallory;
  await sql.unsafe(`
    create sequence marks;
    grant usage on sequence marks to public;
    create schema theirs authorization ${name};
    set role ${name};
    create type theirs.mood as enum ('a', 'b');
    create domain theirs.mooded as theirs.mood;
    create type theirs.pair as (a theirs.mood, b integer);
    create function theirs.mark(theirs.mood) returns json language plpgsql
      as $$ begin perform nextval('public.marks'); return '1'; end $$;
    create cast (theirs.mood as json) with function theirs.mark(theirs.mood);
    create table theirs.t (id int primary key);
    insert into theirs.t values (1);
    alter table theirs.t add one theirs.mood default 'a', add two theirs.mooded default 'b',
      add three theirs.mood[] default '{a,b}', add four theirs.pair default '(a,1)',
      add five integer default 5, add six text[] default '{x}';
    reset role`);
  await sql`select pgstream.refresh_schema('theirs')`;
  expect(await marks(sql)).toBe(false);
  const rows = await sql<{ name: string; missing: unknown }[]>`
    select c ->> 'name' as name, c -> 'missing' as missing
    from pgstream.schema_objects o, jsonb_array_elements(o.document -> 'columns') c
    where o.schema_name = 'theirs' and c ? 'missing' order by 1`;
  expect(Object.fromEntries(rows.map(({ name: column, missing }) => [column, missing]))).toEqual({
    one: 'a',
    two: 'b',
    three: '{a,b}',
    four: '(a,1)',
    five: 5,
    six: ['x'],
  });
});

test('a time limit of ours that is no interval, however large, is one second', async () => {
  const { database } = await createRoles({});
  const session = postgres(database.url, { max: 1, onnotice: () => undefined });
  for (const value of ['1000000000000 years', 'soon', '1 s 1 s', '99999999999999999999 h']) {
    await session`select set_config('pgstream.lock_timeout', ${value}, false)`;
    const [row] = await session<{ wait: boolean }[]>`
      select pgstream._lock_deadline() <= clock_timestamp() + interval '1 s' as wait`;
    expect(row).toEqual({ wait: true });
  }
  await session.end();
});
