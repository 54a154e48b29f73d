import { once } from 'node:events';
import pg from 'pg';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { clusterUrl } from '../helpers/cluster-url.js';
import { createDatabase } from '../helpers/database.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';

test('a test database goes with its slots, also with one that is being read', async () => {
  const database = await createDatabase();
  await database.sql`select pg_create_logical_replication_slot('idle_slot', 'pgoutput')`;
  await database.sql`select pg_create_logical_replication_slot('busy_slot', 'pgoutput')`;
  const reader = new pg.Client({
    connectionString: database.url,
    replication: 'database',
  } as pg.ClientConfig);
  await reader.connect();
  const cutOff = once(reader, 'error');
  reader
    .query(
      `START_REPLICATION SLOT busy_slot LOGICAL 0/0 (proto_version '1', publication_names 'p')`,
    )
    .catch(() => undefined);
  await eventually(async () => {
    const active = await database.sql`select from pg_replication_slots where active`;
    expect(active).toHaveLength(1);
  });

  await database.drop();

  await cutOff;
  const admin = postgres(clusterUrl(), { max: 1 });
  onTestFinished(() => admin.end());
  expect(await admin`select from pg_database where datname = ${database.name}`).toHaveLength(0);
  const slots = await admin`select from pg_replication_slots where database = ${database.name}`;
  expect(slots).toHaveLength(0);
});

test('test databases do not see each other, and have pgstream unless told otherwise', async () => {
  const [one, other] = await Promise.all([createDatabase(), createDatabase({ template: false })]);
  const installed = `select to_regnamespace('pgstream') is not null as yes`;
  expect(await one.sql.unsafe(installed)).toEqual([{ yes: true }]);
  expect(await other.sql.unsafe(installed)).toEqual([{ yes: false }]);
  await one.sql`create table mine ()`;
  expect(await other.sql`select from pg_class where relname = 'mine'`).toHaveLength(0);
  await Promise.all([one.drop(), other.drop()]);
});

test('the receiver records requests and answers as told', async () => {
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  const post = (path: string) => fetch(`${receiver.url}${path}`, { method: 'POST', body: 'héllo' });

  expect((await post('/a')).status).toBe(200);
  receiver.reply({ status: 503, headers: { 'retry-after': '1' } });
  expect((await post('/b')).headers.get('retry-after')).toBe('1');
  receiver.reply({ fault: 'reset' });
  await expect(post('/c')).rejects.toThrow('fetch failed');
  receiver.reply(({ path }) => ({ status: path === '/d' ? 204 : 500, delay: 5 }));
  expect((await post('/d')).status).toBe(204);

  const all = await receiver.waitFor(4);
  expect(all.map(({ path, method, body, status }) => [path, method, body, status])).toEqual([
    ['/a', 'POST', 'héllo', 200],
    ['/b', 'POST', 'héllo', 503],
    ['/c', 'POST', 'héllo', undefined],
    ['/d', 'POST', 'héllo', 204],
  ]);
});

test('closing the receiver breaks off a request that hangs, and its port can be used again', async () => {
  const receiver = await startReceiver();
  receiver.reply({ fault: 'hang' });
  const hanging = fetch(receiver.url).then(
    () => 'answered',
    () => 'broken off',
  );
  await receiver.waitFor(1);
  await receiver.close();
  expect(await hanging).toBe('broken off');

  const again = await startReceiver({ port: Number(new URL(receiver.url).port) });
  onTestFinished(() => again.close());
  expect((await fetch(again.url)).status).toBe(200);
});
