/** What statements of others know of subscriptions says the same as these, at every commit. */
import postgres from 'postgres';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
let sql: postgres.Sql;
/** Somebody who changes a subscription. */
let other: postgres.Sql;
beforeEach(async () => {
  database = await createDatabase();
  ({ sql } = database);
  other = postgres(database.url, { max: 1, onnotice: () => undefined });
  onTestFinished(async () => {
    await other.end({ timeout: 0 });
    const prepared = await sql<{ gid: string }[]>`
      select gid from pg_prepared_xacts where database = current_database()`;
    for (const { gid } of prepared) await sql.unsafe(`rollback prepared '${gid}'`);
    await database.drop();
  });
  await sql.unsafe(`
    select pgstream.create_publications();
    create table t (id int primary key);
    create table u (id int primary key)`);
  await sql`
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name, event_types)
    values ('http://localhost/t', 'public', 't', '{I}'), ('http://localhost/u', 'public', 'u', '{I}')`;
});

const stale = async () => {
  const [row] = await sql<{ stale: string[] | null }[]>`
    select pgstream._stale_targets() as stale`;
  return row!.stale;
};

const published = async () => {
  const rows = await sql<{ name: string }[]>`
    select format('%s in %s', tablename, pubname) as name from pg_publication_tables
    where pubname in ('pgstream_insert', 'pgstream_update') order by 1`;
  return rows.map(({ name }) => name);
};

/** Something to reconcile, without a statement of DDL. */
const somethingMissed = () => sql`
  insert into pgstream.ddl_error (command_tag, sqlstate, message) values ('TEST', '01000', 'missed')`;

test('a change that is committed beside a reconciliation stands as it was made', async () => {
  await other`begin`;
  await other`
    update pgstream.webhook_subscriptions set event_types = '{I,U,D}' where table_name = 't'`;
  await somethingMissed();
  await sql`select * from pgstream.reconcile()`;
  await other`
    update pgstream.webhook_subscriptions set event_types = '{I,U,D}' where table_name = 'u'`;
  await other`commit`;
  expect(await stale()).toBeNull();
  await sql`select * from pgstream.reconcile()`;
  expect(await published()).toEqual([
    't in pgstream_insert',
    't in pgstream_update',
    'u in pgstream_insert',
    'u in pgstream_update',
  ]);
});

test('a reconciliation waits for no change of a subscription that is prepared', async () => {
  await other`begin`;
  await other`delete from pgstream.webhook_subscriptions where table_name = 't'`;
  await other.unsafe(`prepare transaction 'targets_${database.name}'`);
  await somethingMissed();
  await sql`select * from pgstream.reconcile()`;
  await sql`create table more (id int primary key)`;
  expect(
    await sql`select from pgstream.ddl_error where command_tag <> 'TEST' and sqlstate <> '55P03'`,
  ).toEqual([]);
  await sql.unsafe(`commit prepared 'targets_${database.name}'`);
  expect(await stale()).toBeNull();
});

test('what no trigger has seen is brought in step by a reconciliation, once nobody changes any', async () => {
  await sql.unsafe(`
    alter table pgstream.webhook_subscriptions disable trigger user;
    update pgstream.webhook_subscriptions set event_types = null where table_name = 't';
    delete from pgstream.webhook_subscriptions where table_name = 'u';
    alter table pgstream.webhook_subscriptions enable trigger user`);
  expect(await stale()).toHaveLength(2);
  await other`begin`;
  await other`update pgstream.webhook_subscriptions set name = 'other'`;
  const impatiently = sql.begin(async (tx) => {
    await tx`set local pgstream.lock_timeout = '20ms'`;
    return tx`select * from pgstream.reconcile()`;
  });
  await expect(impatiently).rejects.toMatchObject({
    code: '55P03',
    hint: expect.stringMatching(/Try again/),
  });
  await other`rollback`;
  await sql`select * from pgstream.reconcile()`;
  expect(await stale()).toBeNull();
  expect(await published()).toEqual(['t in pgstream_insert', 't in pgstream_update']);
});
