import type postgres from 'postgres';
import { beforeEach, expect, test } from 'vitest';
import { createRoles, type TestRole } from '../helpers/roles.js';

type Name = 'alice' | 'bob' | 'operator';

let sql: postgres.Sql;
let roles: Record<Name, TestRole>;
/** The subscription of Alice, who may read table `hers` alone. */
let subscription: number;

beforeEach(async () => {
  const created = await createRoles<Name>({ alice: '', bob: '', operator: '' });
  ({ roles } = created);
  ({ sql } = created.database);
  await sql.unsafe(`
    select pgstream.create_publications();
    create schema app;
    create table app.hers (id integer primary key);
    create table app.others (id integer primary key);
    create table app.secured (id integer primary key);
    alter table app.secured enable row level security;
    create view app.shown as select 1 as id;
    create unlogged table app.fleeting (id integer);
    create table app.whole (id integer primary key) partition by range (id);
    create table app.part partition of app.whole for values from (0) to (9);
    grant usage on schema app to ${roles.alice.name};
    grant select on app.hers, app.secured, app.shown to ${roles.alice.name};
    select pgstream.grant_subscriber('${roles.alice.name}');
    select pgstream.grant_subscriber('${roles.bob.name}');
    select pgstream.grant_operator('${roles.operator.name}')`);
  const [row] = await roles.alice.sql<{ id: number }[]>`
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
    values ('https://alice.example/', 'app', 'hers') returning id::integer`;
  subscription = row!.id;
});

const ask = (
  by: postgres.Sql,
  tables: string[],
  more: Record<string, string | number | boolean | null> = {},
) => by<{ id: number; state: string; reason: string | null }[]>`
  insert into pgstream.snapshot_requests ${by({ schema_name: 'app', table_names: tables, ...more })}
  returning id::integer, state, reason`;

const tablesOf = (id: number) => sql<
  { table_name: string; state: string; reason: string | null }[]
>`
  select table_name, state, reason from pgstream.snapshot_tables where request = ${id} order by 1`;

const refusal = (asked: PromiseLike<unknown>) =>
  Promise.resolve(asked).then(
    () => 'accepted',
    ({ code, message, hint }: postgres.PostgresError) => `${code} ${message}. ${hint}`,
  );

test('one line asks for a snapshot, and wildcards stand for the tables that there are', async () => {
  await sql`insert into pgstream.webhook_subscriptions (url) values ('https://all.example/')`;
  const [one] = await sql<{ id: number }[]>`
    insert into pgstream.snapshot_requests (schema_name, table_names) values ('app', '{hers}')
    returning id::integer`;
  expect(await tablesOf(one!.id)).toEqual([{ table_name: 'hers', state: 'pending', reason: null }]);
  const [many] = await ask(sql, ['*']);
  expect((await tablesOf(many!.id)).map(({ table_name: name }) => name)).toEqual([
    'hers',
    'others',
    'secured',
    'whole',
  ]);
  const [some] = await ask(sql, ['?ers', 'hers', 'wh*'], { schema_name: 'a*' });
  expect((await tablesOf(some!.id)).map(({ table_name: name }) => name)).toEqual(['hers', 'whole']);
});

test('what cannot be is refused with a reason and a way out', async () => {
  const refused = async (...asked: Parameters<typeof ask>) => refusal(ask(...asked));
  expect(await refused(sql, [])).toMatch(/^22023 a snapshot is of at least one table/);
  expect(await refused(sql, ['nope'])).toMatch(/^42P01 table app.nope does not exist.*\\dt app/);
  expect(await refused(sql, ['nope*'])).toMatch(/^42P01 no table matches app.nope\*/);
  expect(await refused(sql, ['shown'])).toMatch(/^0A000 app.shown is not a permanent table/);
  expect(await refused(sql, ['fleeting'])).toMatch(/^0A000 app.fleeting is not a permanent table/);
  expect(await refused(sql, ['part'])).toMatch(/^0A000 app.part is a partition.*app\.whole/);
  expect(await refused(sql, ['pg_class'], { schema_name: 'pg_catalog' })).toMatch(
    /^0A000 the rows/,
  );
  expect(await refused(sql, ['hers'], { share: 2 })).toMatch(/^23514/);
  expect(await refused(sql, ['hers'], { chunk_rows: 0 })).toMatch(/^23514/);
  expect(await refused(sql, ['hers'], { subscription: 999 })).toMatch(
    /^42704 there is no subscription 999 of yours/,
  );
  expect(await refused(sql, ['hers'], { requested_by: roles.alice.name })).toMatch(
    /^42501 who asks/,
  );
});

test('a subscriber asks for its own subscriptions and for what it may read', async () => {
  const alice = roles.alice.sql;
  expect(await refusal(ask(alice, ['hers'], { subscription }))).toBe('accepted');
  expect(await refusal(ask(alice, ['hers']))).toMatch(/^42501 role "alice_\w+" may ask .*column/);
  expect(await refusal(ask(roles.bob.sql, ['hers'], { subscription }))).toMatch(/^42704/);
  expect(await refusal(ask(alice, ['others'], { subscription }))).toMatch(
    /^42501 permission denied for the rows of app.others. As an administrator: grant select/,
  );
  expect(await refusal(ask(alice, ['secured'], { subscription }))).toMatch(/^42501 .*allow_rls/);
  expect(await refusal(ask(roles.operator.sql, ['others']))).toBe('accepted');
});

test('everybody sees, pauses and cancels their own requests, operators all', async () => {
  const [request] = await ask(roles.alice.sql, ['hers'], { subscription });
  const seen = async (role: TestRole) =>
    (await role.sql`select from pgstream.snapshot_status where request = ${request!.id}`).length;
  expect(await seen(roles.alice)).toBe(1);
  expect(await seen(roles.bob)).toBe(0);
  expect(await seen(roles.operator)).toBe(1);
  const pause = (role: TestRole) => role.sql`
    update pgstream.snapshot_requests set paused = true where id = ${request!.id}`;
  expect((await pause(roles.bob)).count).toBe(0);
  expect((await pause(roles.alice)).count).toBe(1);
  expect((await pause(roles.operator)).count).toBe(1);
  const [status] = await sql`
    select state from pgstream.snapshot_status where request = ${request!.id}`;
  expect(status).toEqual({ state: 'paused' });
  expect(
    await refusal(roles.alice.sql`
      update pgstream.snapshot_requests set state = 'done' where id = ${request!.id}`),
  ).toMatch(/^42501/);
  expect(
    await refusal(sql`update pgstream.snapshot_requests set table_names = '{others}'`),
  ).toMatch(/^55000 snapshot \d+ has been asked for/);
  await roles.alice.sql`delete from pgstream.snapshot_requests where id = ${request!.id}`;
  expect(await tablesOf(request!.id)).toEqual([]);
});

test('a table that nobody is sent is done at once, and so is a request of no other', async () => {
  const reason = 'no subscription is sent inserts of it';
  const [mixed] = await ask(sql, ['hers', 'others']);
  expect(await tablesOf(mixed!.id)).toEqual([
    { table_name: 'hers', state: 'pending', reason: null },
    { table_name: 'others', state: 'done', reason },
  ]);
  const [none] = await ask(sql, ['others'], { subscription });
  const [request] = await sql`
    select state, reason from pgstream.snapshot_requests where id = ${none!.id}`;
  expect(request).toEqual({
    state: 'done',
    reason: 'no subscription is sent inserts of its tables',
  });
});

test('nothing can be asked for before there is a way to deliver it', async () => {
  await sql`alter publication pgstream_control drop table pgstream.snapshot_marks`;
  expect(await refusal(ask(sql, ['hers']))).toMatch(/^55000 the marks of .*create_publications/);
  await sql`select pgstream.create_publications()`;
  expect(await refusal(ask(sql, ['hers']))).toBe('accepted');
});

test.for(['delete from', 'truncate'])(
  'requests go with their subscription: %s',
  async (statement) => {
    await ask(roles.alice.sql, ['hers'], { subscription });
    await sql.unsafe(`${statement} pgstream.webhook_subscriptions`);
    expect(await sql`select from pgstream.snapshot_requests`).toHaveLength(0);
  },
);
