import pg from 'pg';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { installSchema } from '../../src/install/schema.js';
import { createDatabase } from '../helpers/database.js';
import { whereIs } from '../helpers/foreign.js';
import { createRoles } from '../helpers/roles.js';

/** An imported database of which tables and copies belong to mallory, whose domain says who reads it. */
async function createImport() {
  const { database, roles } = await createRoles({ mallory: '' });
  const remote = await createDatabase({ template: false });
  const { mallory } = roles;
  const { sql } = database;
  onTestFinished(async () => {
    await sql.unsafe(`drop owned by ${mallory.name} cascade`);
    await remote.drop();
  });
  await remote.sql.unsafe(`
    create schema lair;
    create type lair.pair as (a text, b text);
    create table item (id integer primary key, note text, pair lair.pair);
    insert into item values (1, 'one', '(a,b)')`);
  await sql.unsafe(`
    create schema lair authorization ${mallory.name};
    create table lair.marks (what text, who name);
    grant all on lair.marks to public`);
  await mallory.sql.unsafe(`
    create function lair.mark(what text) returns boolean language plpgsql as $$
    begin
      insert into lair.marks values (what, current_user);
      return true;
    end $$;
    create domain lair.word as text check (lair.mark('domain'));
    create type lair.pair as (a text, b lair.word)`);
  const importIt = () =>
    sql.unsafe(`select * from pgstream.import_foreign_database(
      server_name => 'shop', ${whereIs(remote.url)})`);
  await importIt();
  return {
    sql,
    remote: remote.sql,
    mallory,
    importIt,
    marks: async () => [...(await sql`select distinct what, who from lair.marks`)],
    typeOf: async (table: string, column: string) => {
      const [row] = await sql<{ type: string }[]>`
        select format_type(atttypid, atttypmod) as type from pg_attribute
        where attrelid = ${table}::regclass and attname = ${column}`;
      return row!.type;
    },
  };
}

test('a type of the same name is used where it belongs to who owns the server', async () => {
  const { sql, importIt, typeOf, marks } = await createImport();
  expect(await typeOf('shop.item', 'pair')).toBe('pgstream.foreign_text');
  await sql`select * from shop.item`;
  expect(await marks()).toEqual([]);
  await sql.unsafe(`alter type lair.pair owner to postgres`);
  await importIt();
  expect(await typeOf('shop.item', 'pair')).toBe('lair.pair');
});

test('the columns of a foreign table change with the rights of its owner', async () => {
  const { sql, remote, mallory, marks, typeOf } = await createImport();
  await sql.unsafe(`alter foreign table shop.item owner to ${mallory.name};
    grant usage on schema shop to ${mallory.name}`);
  await mallory.sql.unsafe(`
    alter foreign table shop.item alter column note set default ('{zz}'::lair.word[])[1];
    create view lair.on_item as select note from shop.item where note <> all ('{zz}'::lair.word[])`);
  await sql`delete from lair.marks`;
  await remote`alter table item alter column note type varchar(20)`;
  const done = await sql<{ detail: string }[]>`
    select * from pgstream.sync_foreign_database('shop')`;
  expect(done.map(({ detail }) => detail)).toEqual(['column note is character varying(20)']);
  expect(await typeOf('shop.item', 'note')).toBe('character varying(20)');
  expect(await marks()).toEqual([{ what: 'domain', who: mallory.name }]);
});

test('what a foreign table of another role says is not done for a copy', async () => {
  const { sql, mallory, marks } = await createImport();
  await sql.unsafe(`select pgstream.cache_foreign_table('shop.item', 'public.item');
    alter foreign table shop.item owner to ${mallory.name};
    grant usage on schema shop to ${mallory.name}`);
  await mallory.sql`alter foreign table shop.item alter column note type lair.word`;
  await sql`delete from lair.marks`;
  await expect(sql`select pgstream.refresh_cached_table('item')`).rejects.toMatchObject({
    code: '42501',
    message: `reading shop.item would do what role ${mallory.name} wrote with the rights of role postgres`,
    hint: `alter table public.item owner to ${mallory.name};`,
  });
  await sql`call pgstream.refresh_due(force => true)`.simple();
  expect(await marks()).toEqual([]);
});

test('what a type of another role checks is not checked of foreign rows for a copy', async () => {
  const { sql, mallory, marks } = await createImport();
  await mallory.sql`create domain lair.note as text`;
  await sql.unsafe(`alter domain lair.note owner to postgres;
    alter schema lair owner to postgres; grant usage on schema lair to ${mallory.name};
    alter foreign table shop.item alter column note type lair.note;
    select pgstream.cache_foreign_table('shop.item', 'public.item');
    alter domain lair.note owner to ${mallory.name}`);
  await mallory.sql`alter domain lair.note add check (lair.mark('domain'))`;
  await sql`delete from lair.marks`;
  await expect(sql`select pgstream.refresh_cached_table('item')`).rejects.toMatchObject({
    code: '42501',
    detail: `domain lair.note, of which column note of shop.item is made, belongs to ${mallory.name}.`,
    hint: `alter table public.item owner to ${mallory.name};`,
  });
  expect(await marks()).toEqual([]);
});

test('the owner of a copy reads with a user mapping of its own', async () => {
  const { sql, remote, mallory } = await createImport();
  await sql.unsafe(`select pgstream.cache_foreign_table('shop.item', 'lair.item');
    grant usage on schema shop to ${mallory.name}; grant select on shop.item to ${mallory.name};
    alter table lair.item owner to ${mallory.name}`);
  const refresh = () => sql`select pgstream.refresh_cached_table('lair.item')::integer as changed`;
  const refused = await refresh().catch((error: postgres.PostgresError) => error);
  expect(refused).toMatchObject({
    code: '42704',
    hint: `create user mapping for ${mallory.name} server shop options (user '...', password '...');`,
  });
  await sql.unsafe(`create user mapping for ${mallory.name} server shop
    options (user 'postgres', password 'postgres', password_required 'false')`);
  await remote`update item set note = 'two'`;
  expect([...(await refresh())]).toEqual([{ changed: 1 }]);
});

test('an owner of the schema who is no superuser acts for roles that it is a member of', async () => {
  const { roles } = await createRoles({ keeper: '', mallory: '' });
  const { keeper, mallory } = roles;
  const empty = await createDatabase({ template: false });
  const { sql } = empty;
  const url = new URL(empty.url);
  url.username = keeper.name;
  const client = new pg.Client({ connectionString: url.href });
  const kept = postgres(url.href, { max: 1, onnotice: () => undefined });
  onTestFinished(async () => {
    await kept.end();
    await client.end();
    await empty.drop();
  });
  await sql.unsafe(`grant create on database ${empty.name} to ${keeper.name};
    create schema lair authorization ${mallory.name};
    create schema hall authorization ${keeper.name};
    grant usage on schema lair, hall to public`);
  await client.connect();
  await installSchema(client);
  await kept.unsafe(`
    create table hall.source (id integer primary key);
    create table hall.marks (what text, who name default current_user);
    grant select on hall.source to public;
    grant insert on hall.marks to public;
    select pgstream.cache_foreign_table('hall.source', 'hall.copy', key_columns => '{id}')`);
  await sql.unsafe(`alter table hall.copy owner to ${mallory.name};
    set role ${mallory.name};
    create function lair.attack() returns trigger language plpgsql as $$
    begin
      insert into hall.marks values ('trigger');
      begin
        create table pgstream.left_behind ();
        insert into hall.marks values ('created');
      exception when insufficient_privilege then null;
      end;
      return new;
    end $$;
    create trigger attack after insert on hall.copy for each row execute function lair.attack();
    reset role`);
  await kept`insert into hall.source values (1)`;
  await expect(kept`select pgstream.refresh_cached_table('hall.copy')`).rejects.toMatchObject({
    code: '42501',
    message: `role ${keeper.name} may not act for role ${mallory.name}, which owns hall.copy`,
    hint: `grant ${mallory.name} to ${keeper.name}; or do it as a superuser.`,
  });
  await sql.unsafe(`grant ${mallory.name} to ${keeper.name}`);
  await kept`select pgstream.refresh_cached_table('hall.copy')`;
  expect([...(await sql`select * from hall.marks`)]).toEqual([
    { what: 'trigger', who: mallory.name },
  ]);
  const [left] = await sql`
    select has_schema_privilege(${mallory.name}, 'pgstream', 'create') as may_create,
      has_schema_privilege(${mallory.name}, 'pgstream', 'usage') as may_use`;
  expect(left).toEqual({ may_create: false, may_use: false });
});
