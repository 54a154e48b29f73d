import type postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';
import { createForeignPair, startRemote, type ForeignPair } from '../helpers/foreign.js';

const password = `p'q%27 "\\`;
let pair: ForeignPair;
let remoteUrl: string;

beforeAll(async () => {
  const database = await startRemote(password);
  remoteUrl = database.url;
  pair = await createForeignPair(database);
  await pair.remote.unsafe(`
    create schema "weird ""name'";
    create table "weird ""name'"."a ""table'" ("a ""column'" integer primary key);
    insert into "weird ""name'"."a ""table'" values (1);
    create type mood as enum ('sad', 'glad');
    create domain amount as numeric(8,2);
    create domain price as amount;
    create table item (
      id bigint, code text not null unique, price price, prices numeric(8,2)[], mood mood,
      moods mood[], at timestamptz(3), flag bit(3), what regclass,
      primary key (code, id));
    insert into item values (1, 'one', 1.5, '{1.25}', 'glad', '{sad,glad}', '2020-01-01', b'101',
      'pg_class');
    create table unkeyed (id integer)`);
});
afterAll(() => pair.drop());

const failure = async (work: Promise<unknown>): Promise<postgres.PostgresError> => {
  await expect(work).rejects.toThrow();
  return work.then(
    () => {
      throw new Error('it worked');
    },
    (error: postgres.PostgresError) => error,
  );
};

const nothingIsLeft = async () => {
  const [left] = await pair.local`
    select (select count(*)::integer from pg_foreign_server) as servers,
           (select count(*)::integer from pgstream.foreign_databases) as databases,
           to_regnamespace('shop')::text as schema,
           (select count(*)::integer from pg_class where relkind = 'f') as tables`;
  expect(left).toEqual({ servers: 0, databases: 0, schema: null, tables: 0 });
};

const importing = (given: Record<string, string>) => {
  const parameters = Object.entries(given).map(([name, value]) => `${name} => ${value}`);
  return pair.local.unsafe(
    `select * from pgstream.import_foreign_database(${parameters.join(', ')})`,
  );
};

const parameters = (): Record<string, string> => {
  const { hostname, port } = new URL(remoteUrl);
  return {
    server_name: "'shop'",
    host: `'${hostname}'`,
    port,
    dbname: "'postgres'",
    username: "'postgres'",
    password: `'${password.replaceAll("'", "''")}'`,
  };
};

const self = async () => {
  const [here] = await pair.local<{ port: string; name: string }[]>`
    select inet_server_port()::text as port, current_database() as name`;
  return { port: here!.port, dbname: `'${here!.name}'`, password: 'null' };
};

test.each<[string, () => Promise<Record<string, string>> | Record<string, string>, string, RegExp]>(
  [
    ['a server that is not there', () => ({ port: '1' }), '08001', /run the same again/],
    ['a wrong password', () => ({ password: "'wrong'" }), '08001', /right password/],
    ['an unknown database', () => ({ dbname: "'nosuch'" }), '08001', /run the same again/],
    ['an unknown schema', () => ({ remote_schema: "'nosuch'" }), '3F000', /Name one of them/],
    [
      'an unknown table',
      () => ({ table_names: "'{item,nosuch}'" }),
      '42P01',
      /Correct table_names/,
    ],
    ['a name that is too long', () => ({ server_name: `'${'x'.repeat(64)}'` }), '42622', /shorter/],
    ['a missing name', () => ({ dbname: "''" }), '22004', /dbname =>/],
    ['itself', self, '22023', /other database/],
    ['our own schema', () => ({ local_schema: "'pgstream'" }), '22023', /another local_schema/],
    ['an unknown option', () => ({ options: `'{"fetch_sise":"1"}'` }), 'HV00D', /./],
    [
      'a password among the options',
      () => ({ options: `'{"password":"1"}'` }),
      '22023',
      /options =>/,
    ],
  ],
)('%s cannot be imported, and nothing is left', async (_, given, code, hint) => {
  const error = await failure(importing({ ...parameters(), ...(await given()) }));
  expect(error).toMatchObject({ code, hint: expect.stringMatching(hint) as string });
  expect(`${error.message}${error.detail}`).not.toContain(password);
  await nothingIsLeft();
});

test('who may not create the extension, a schema or a server is told what to ask for', async () => {
  const { local } = pair;
  await local.unsafe(`create role shop_importer login; grant usage on schema pgstream to shop_importer;
    grant select, insert, update, delete on all tables in schema pgstream to shop_importer;
    grant execute on all functions in schema pgstream to shop_importer`);
  const hints: (string | undefined)[] = [];
  const attempt = async () => {
    const connection = await local.reserve();
    try {
      await connection`set role shop_importer`;
      const text = Object.entries(parameters()).map(([name, value]) => `${name} => ${value}`);
      hints.push(
        (
          await failure(
            connection.unsafe(`select pgstream.import_foreign_database(${text.join(', ')})`),
          )
        ).hint,
      );
    } finally {
      await connection`reset role`;
      connection.release();
    }
  };
  await attempt();
  await local.unsafe('create schema shop authorization shop_importer');
  await attempt();
  await local.unsafe('create extension postgres_fdw');
  await attempt();
  await local.unsafe(`drop extension postgres_fdw; drop schema shop;
    drop owned by shop_importer; drop role shop_importer`);
  expect(hints[0]).toContain('grant create on database');
  expect(hints[1]).toContain('As a superuser: create extension postgres_fdw;');
  expect(hints[2]).toBe(
    'As a superuser: grant usage on foreign data wrapper postgres_fdw to shop_importer;',
  );
});

test('a relation of the same name is not touched', async () => {
  const { local } = pair;
  await local.unsafe('create schema shop; create table shop.item (mine text)');
  const error = await failure(importing(parameters()));
  expect(error).toMatchObject({ code: '55000' });
  expect(error.detail).toBe('shop.item: there is another relation of this name');
  await local.unsafe('drop schema shop cascade');
  await nothingIsLeft();
});

test('concurrent imports of the same database all succeed', async () => {
  const done = await Promise.all([pair.importIt(), pair.importIt(), pair.importIt()]);
  expect(done.filter((rows) => rows.length > 0)).toHaveLength(1);
  await pair.local`select pgstream.drop_foreign_database('shop')`;
  await pair.local`drop schema shop`;
  await nothingIsLeft();
});

test('types come as they are, or as what they are made of', async () => {
  const { local } = pair;
  await pair.importIt();
  const columns = await local`
    select attname as name, format_type(atttypid, atttypmod) as type
    from pg_attribute where attrelid = 'shop.item'::regclass and attnum > 0 order by attnum`;
  expect(
    Object.fromEntries(columns.map(({ name, type }) => [name as string, type as string])),
  ).toEqual({
    id: 'bigint',
    code: 'text',
    price: 'numeric(8,2)',
    prices: 'numeric(8,2)[]',
    mood: 'shop.mood',
    moods: 'shop.mood[]',
    at: 'timestamp(3) with time zone',
    flag: 'bit(3)',
    what: 'pgstream.foreign_text',
  });
  const [row] = await local`
    select mood::text, moods::text, what from shop.item
    where mood = 'glad' and what = 'pg_class' and price = 1.5`;
  expect(row).toEqual({ mood: 'glad', moods: '{sad,glad}', what: 'pg_class' });
  const [status] = await local`
    select key_columns, state from pgstream.foreign_status
    where foreign_table = 'shop.item'::regclass`;
  expect(status).toEqual({ key_columns: ['code', 'id'], state: 'in step' });
});

test('importing again changes what is new, and keeps what was built on it', async () => {
  const { local } = pair;
  await local.unsafe('create view on_item as select code from shop.item');
  expect(await pair.importIt()).toEqual([]);
  await pair.remote.unsafe("alter role postgres password 'another'");
  expect(await failure(pair.sync())).toMatchObject({ code: '08001' });
  expect(
    await importing({ ...parameters(), password: "'another'", options: `'{"fetch_size":"7"}'` }),
  ).toHaveLength(0);
  const [server] = await local`select srvoptions from pg_foreign_server`;
  expect(server!['srvoptions']).toContain('fetch_size=7');
  expect([...(await local`select * from on_item`)]).toEqual([{ code: 'one' }]);
  expect(
    await failure(importing({ ...parameters(), remote_schema: `'weird "name'''` })),
  ).toMatchObject({
    code: '22023',
    hint: 'Choose another server_name for another schema.',
  });
  await pair.remote.unsafe(`alter role postgres password '${password.replaceAll("'", "''")}'`);
  await importing(parameters());
});

test('any name is quoted where it has to be', async () => {
  await importing({
    ...parameters(),
    server_name: `'the "weird'''`,
    remote_schema: `'weird "name'''`,
    local_schema: `'here "too'''`,
  });
  const rows = await pair.local.unsafe(`select * from "here ""too'"."a ""table'"`);
  expect([...rows]).toEqual([{ [`a "column'`]: 1 }]);
  await pair.local.unsafe(`select pgstream.drop_foreign_database('the "weird''')`);
});

test('only those that are named are imported, and only what may be read', async () => {
  const { local, remote } = pair;
  await remote.unsafe(`create role clerk login password 'clerk'; grant select on item to clerk`);
  const as = { ...parameters(), server_name: "'clerk'", username: "'clerk'", password: "'clerk'" };
  await importing(as);
  const tables = () => local`
    select remote_table, state from pgstream.foreign_status where server_name = 'clerk' order by 1`;
  expect([...(await tables())]).toEqual([{ remote_table: 'public.item', state: 'in step' }]);
  expect(await failure(importing({ ...as, table_names: "'{unkeyed}'" }))).toMatchObject({
    code: '42P01',
    detail: 'User clerk can see no such table there.',
  });
  await remote.unsafe('revoke select on item from clerk');
  await local`select pgstream.sync_foreign_database('clerk')`;
  expect([...(await tables())]).toEqual([{ remote_table: 'public.item', state: 'blocked' }]);
  await local`select pgstream.drop_foreign_database('clerk')`;
});

test('the password is for the caller alone, and readers have views', async () => {
  const { local } = pair;
  await local.unsafe(`create role shop_reader; grant usage on schema shop to shop_reader;
    grant select on shop.item, on_item to shop_reader`);
  const connection = await local.reserve();
  try {
    await connection`set role shop_reader`;
    expect(await failure(connection`select * from shop.item`)).toMatchObject({ code: '42704' });
    expect([...(await connection`select * from on_item`)]).toEqual([{ code: 'one' }]);
    const seen = await connection`select umoptions::text from pg_user_mappings`;
    expect(JSON.stringify(seen)).not.toContain('password');
  } finally {
    await connection`reset role`;
    connection.release();
    await local.unsafe('drop owned by shop_reader; drop role shop_reader');
  }
});

test('roles that are no superusers import, each with a mapping of its own', async () => {
  const { local } = pair;
  const database = (await local<{ name: string }[]>`select current_database() as name`)[0]!.name;
  await local.unsafe(`create role first_importer; create role second_importer;
    grant first_importer, second_importer to current_user;
    grant usage on schema pgstream to first_importer, second_importer;
    grant select, insert, update, delete on all tables in schema pgstream
      to first_importer, second_importer;
    grant execute on all routines in schema pgstream to first_importer, second_importer;
    grant usage on type pgstream.foreign_text to first_importer;
    grant create on database ${database} to first_importer;
    grant usage on foreign data wrapper postgres_fdw to first_importer, second_importer`);
  const given = { ...parameters(), server_name: "'own'" };
  const text = Object.entries(given).map(([name, value]) => `${name} => ${value}`);
  const as = (role: string) =>
    local.begin(async (tx) => {
      await tx.unsafe(`set local role ${role}`);
      await tx.unsafe(`select pgstream.import_foreign_database(${text.join(', ')})`);
      return [...(await tx`select code from own.item`)];
    });
  expect(await as('first_importer')).toEqual([{ code: 'one' }]);
  expect(await failure(as('second_importer'))).toMatchObject({
    code: '42501',
    hint: 'As first_importer: grant usage on foreign server own to second_importer;',
  });
  await local.unsafe(`grant usage on foreign server own to second_importer;
    grant usage on schema own to second_importer; grant select on own.item to second_importer`);
  expect(await as('second_importer')).toEqual([{ code: 'one' }]);
  await local`select pgstream.drop_foreign_database('own')`;
  await local.unsafe(`drop owned by first_importer, second_importer;
    drop role first_importer, second_importer`);
});

test('a database that runs pgstream tells how many versions its schemas have had', async () => {
  const other = await createForeignPair(await createDatabase());
  try {
    await other.remote`create table item (id integer primary key)`;
    await other.importIt();
    const version = () => other.local`
      select remote_schema_version::integer as version from pgstream.foreign_status`;
    expect([...(await version())]).toEqual([{ version: 1 }]);
    await other.remote`alter table item add column more text`;
    await other.sync();
    expect([...(await version())]).toEqual([{ version: 2 }]);
  } finally {
    await other.drop();
  }
});

test('sync of an unknown database names the known ones', async () => {
  const error = await failure(pair.local`select pgstream.sync_foreign_database('nosuch')`);
  expect(error).toMatchObject({ code: '42704', detail: 'Imported are: shop.' });
});
