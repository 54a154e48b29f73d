import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';

const subscription = `insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
  values ('http://localhost/new', 'public', 't')`;

test.each([
  ['alter table t add column w int; insert into t values (1, 2, 3)', 'of DDL with a filter'],
  ['create table made (id int primary key); drop table made', 'that makes and drops'],
  ['alter table t drop constraint t_pkey; update t set n = 1', 'that drops a key'],
  [subscription, 'that subscribes'],
  ['update pgstream.webhook_subscriptions set enabled = false', 'that pauses'],
  ['delete from pgstream.webhook_subscriptions', 'that unsubscribes'],
  ['truncate pgstream.webhook_subscriptions', 'that forgets all subscriptions'],
  [
    `insert into pgstream.snapshot_requests (schema_name, table_names) values ('public', '{t}')`,
    'that asks for a snapshot',
  ],
  ['select pgstream.replay(1)', 'that asks for a replay'],
  [`select pgstream.emit('order.paid', '{}')`, 'that emits'],
])('%s can be prepared', async (statements) => {
  const database = await createDatabase();
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
  onTestFinished(async () => {
    for (const { gid } of await sql`
      select gid from pg_prepared_xacts where database = ${database.name}`) {
      await sql.unsafe(`rollback prepared '${gid}'`);
    }
    await sql.end({ timeout: 0 });
    await database.drop();
  });
  await sql`select pgstream.create_publications()`;
  await sql.unsafe('create table t (id int primary key, n int)');
  await sql.unsafe(`insert into pgstream.webhook_subscriptions
    (url, schema_name, table_name, filter) values ('http://localhost/', 'public', 't', 'new.n > 1')`);
  await sql.unsafe(`begin; ${statements}; prepare transaction '${database.name}'`);
  expect(await sql`select gid from pg_prepared_xacts where gid = ${database.name}`).toHaveLength(1);
  await sql.unsafe(`commit prepared '${database.name}'`);
  await sql`select pgstream.reconcile()`;
});
