import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { startRunner } from '../helpers/runner.js';

let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase();
});
afterEach(() => database.drop());

async function pgstream(...args: string[]) {
  const runner = startRunner([...args, '--pgurl', database.url]);
  const { code } = await runner.exited;
  return { code, stdout: runner.stdout, stderr: runner.stderr };
}

async function schema(...args: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await pgstream('schema', ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.trimEnd().split('\n');
}

/** Versions 1 to 8 of schema public: one a statement. */
const statements = [
  `create type mood as enum ('sad', 'ok')`,
  `create table "order" (id bigint primary key, state mood not null, note text default 'none')`,
  'create table item (id serial primary key, "order" bigint references "order" (id))',
  'alter table "order" alter note type varchar(10), add total numeric(12,2) check (total > 0)',
  'alter table "order" rename to purchase',
  'alter type mood rename to state',
  'alter table item drop "order"',
  'alter table item add "order" text unique',
];

async function change(setting = '') {
  await database.sql.begin(async (sql) => {
    if (setting) await sql.unsafe(setting);
    for (const statement of statements) await sql.unsafe(statement);
  });
  const [{ count }] = await database.sql<[{ count: number }]>`
    select count(*)::integer as count from pgstream.schema_log`;
  expect(count).toBe(statements.length);
}

const withoutTime = (line: string) => line.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/, 'then');

const changesOf = [
  `+ type public.mood ('sad', 'ok')`,
  '+ table public."order"',
  '+ sequence public.item_id_seq integer start 1 increment 1 from 1 to 2147483647; + table public.item',
  '~ column public."order".note text → character varying(10); ' +
    `+ column public."order".total numeric(12,2); ` +
    '+ constraint public."order".order_total_check CHECK ((total > (0)::numeric))',
  '~ table public."order" renamed to purchase',
  '~ type public.mood renamed to state',
  '- column public.item."order"; - foreign key public.item.item_order_fkey',
  '+ column public.item."order" text; + constraint public.item.item_order_key UNIQUE ("order")',
];

test.each([
  ['whole', ''],
  ['partial', 'set local pgstream.schema_log_full_limit = 0'],
])('the log tells what each version changed, be they %s', async (_, setting) => {
  await change(setting);
  await database.sql`
    update pgstream.schema_log set acked = true where schema_name = 'public' and version = 2`;
  const lines = await schema('log');
  expect(lines.map(withoutTime)).toEqual([
    'version  schema  time (UTC)           acked  changes',
    ...changesOf.map((changes, i) => {
      const acked = i === 1 ? 'yes' : 'no ';
      return `      ${i + 1}  public  then  ${acked}    ${changes}`;
    }),
  ]);

  const { versions } = JSON.parse((await schema('log', 'public', '--json')).join('')) as {
    versions: unknown[];
  };
  expect(versions).toHaveLength(statements.length);
  expect(versions[4]).toEqual({
    version: 5,
    schema: 'public',
    createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/),
    acked: false,
    changes: [
      { kind: 'changed', object: 'table', name: 'public."order"', details: 'renamed to purchase' },
    ],
  });
});

test('the difference between two versions tells each thing once, forwards and backwards', async () => {
  await change();
  expect(await schema('diff', '3', 'latest')).toEqual([
    '~ type public.mood renamed to state',
    '- column public.item."order"',
    '+ column public.item."order" text',
    '- foreign key public.item.item_order_fkey',
    '+ constraint public.item.item_order_key UNIQUE ("order")',
    '~ table public."order" renamed to purchase',
    '~ column public.purchase.note text → character varying(10)',
    '+ column public.purchase.total numeric(12,2)',
    '+ constraint public.purchase.order_total_check CHECK ((total > (0)::numeric))',
  ]);
  expect(await schema('diff', '6', '5', '--schema', 'public')).toEqual([
    '~ type public.state renamed to mood',
  ]);
  expect(await schema('diff', '7', '7')).toEqual(['nothing differs']);
  expect(JSON.parse((await schema('diff', '4', '5', '--json')).join(''))).toEqual({
    schema: 'public',
    from: 4,
    to: 5,
    changes: [
      { kind: 'changed', object: 'table', name: 'public."order"', details: 'renamed to purchase' },
    ],
  });
});

test('a table that is dropped and made again is another one', async () => {
  await database.sql.unsafe('create schema app; create table app.t (n integer)');
  await database.sql.unsafe('drop table app.t; create table app.t (n integer)');
  await database.sql.unsafe('drop schema app cascade');
  expect(await schema('diff', '--schema', 'app', '2', 'latest')).toContain('- schema app');
  const [, ...lines] = await schema('log', 'app');
  const changes = lines.map((line) => line.replace(/^.* no +/, ''));
  expect(changes).toEqual(expect.arrayContaining(['+ table app.t', '- table app.t']));
  const made = lines.flatMap((line, i) => (line.endsWith('+ table app.t') ? [`${i + 1}`] : []));
  expect(await schema('diff', '--schema', 'app', ...made)).toEqual([
    '- table app.t',
    '+ table app.t',
    '+ column app.t.n integer',
  ]);
  const shown = await schema('show', '--schema', 'app');
  expect(shown.map(withoutTime)).toEqual([
    `schema app, version ${lines.length}, then UTC`,
    'dropped',
  ]);
});

test('a version is shown whole, for people and as the document that it is', async () => {
  await change('set local pgstream.schema_log_full_limit = 0');
  await database.sql`alter table item add big numeric default 123456789012345678901234567890`;
  await database.sql`comment on table item is 'a thing'`;
  await database.sql`create materialized view seen as select 1 as id`;
  await database.sql`create index seen_id on seen (id)`;
  const lines = (await schema('show')).map(withoutTime);
  expect(lines).toEqual([
    'schema public, version 12, then UTC',
    `type state ('sad', 'ok')`,
    'sequence item_id_seq integer start 1 increment 1 from 1 to 2147483647',
    'table item -- a thing',
    `  id integer not null default nextval('public.item_id_seq'::regclass)`,
    '  "order" text',
    `  big numeric default '123456789012345678901234567890'::numeric`,
    '  primary key (id)',
    '  constraint item_order_key UNIQUE ("order")',
    'table purchase',
    '  id bigint not null',
    '  state public.state not null',
    `  note character varying(10) default 'none'::text`,
    '  total numeric(12,2)',
    '  primary key (id)',
    '  constraint order_total_check CHECK ((total > (0)::numeric))',
    'materialized view seen',
    '  SELECT 1 AS id;',
    '  index seen_id USING btree (id)',
  ]);
  const { stdout } = await pgstream('schema', 'show', '12', '--json');
  const [{ document }] = await database.sql<[{ document: string }]>`
    select pgstream.schema_at('public', 12)::text as document`;
  expect(stdout).toBe(`${document}\n`);
  expect(stdout).toContain('"missing": 123456789012345678901234567890');
});

test('nothing is written, and one connection is enough', async () => {
  await change();
  const role = `reader_of_${database.name}`;
  await database.sql.unsafe(`
    create role ${role} login connection limit 1;
    grant usage on schema pgstream to ${role};
    grant select on pgstream.schema_log, pgstream.migrations to ${role};
    grant execute on function pgstream.schema_at to ${role}`);
  const url = new URL(database.url);
  url.username = role;
  try {
    const runner = startRunner(['schema', 'diff', '1', '2', '--pgurl', url.href]);
    expect(await runner.exited).toEqual({ code: 0, signal: null });
    expect(runner.stdout).toContain('+ table public."order"');
  } finally {
    await database.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
  }
});

test.each([
  [
    ['log', 'pubic'],
    1,
    /ERROR {2}the schema log has no version of schema "pubic"/,
    /mean public\?/,
  ],
  [['log', 'far_away'], 1, /no version of schema "far_away"/, /It has versions of public\./],
  [['show', '9'], 1, /schema "public" has no version 9/, /There are versions 1 to 8\./],
  [['diff', '1', '12'], 1, /schema "public" has no version 12/, /There are versions 1 to 8\./],
  [['diff', '1', '2', '--schema', 'x'], 1, /no version of schema "x"/, /versions of public/],
  [['show', 'newest'], 2, /"newest" is no version/, /whole numbers from 1; latest/],
  [['show', '0'], 2, /"0" is no version/, /whole numbers/],
  [['show', '99999999999999999999'], 2, /is no version/, /whole numbers/],
])('schema %j is refused with what there is', async (args, code, message, hint) => {
  await change();
  const outcome = await pgstream('schema', ...args);
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(outcome.stderr).toMatch(message);
  expect(outcome.stderr).toMatch(new RegExp(`^HINT {3}.*${hint.source}`, 'm'));
});

test('without versions, and without pgstream, each command says what is missing', async () => {
  const empty = await pgstream('schema', 'log');
  expect(empty).toMatchObject({ code: 1, stdout: '' });
  expect(empty.stderr).toMatch(/HINT {3}It is empty: .* with its first table/);
  await database.sql`drop schema pgstream cascade`;
  for (const args of [['log'], ['show'], ['diff', '1', '2']]) {
    const { code, stdout, stderr } = await pgstream('schema', ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(
      /^ERROR {2}pgstream is not installed in this database\nHINT {3}pgstream init$/m,
    );
  }
});

test('where nothing listens it exits with code 4', async () => {
  const runner = startRunner(['schema', 'log', '--pgurl', 'postgres://me:hush@127.0.0.1:1/db']);
  expect(await runner.exited).toEqual({ code: 4, signal: null });
  expect(runner.stderr).toContain('nothing listens there');
  expect(runner.stderr).not.toContain('hush');
});
