import { expect, test } from 'vitest';
import { arrivals, confirmed, drained, patience, startItems } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startRunner } from '../helpers/runner.js';
import { inState } from '../helpers/snapshots.js';

const command = (url: string, ...args: string[]) =>
  startRunner(['snapshot', ...args], { env: { PGSTREAM_POSTGRES_LISTENER_URL: url } });

test('pgstream snapshot asks, watches, and says how it ended', async () => {
  const { sql, url, receiver, id } = await startItems({ subscription: { event_types: '{I}' } });
  await sql`update pgstream.webhook_subscriptions set enabled = false`;
  await sql`insert into item select generate_series(1, 50)`;
  await sql`create table unheard (id integer primary key)`;
  await sql`update pgstream.webhook_subscriptions set enabled = true`;
  await drained(sql);

  const done = command(url, 'public.item', 'unheard', '--share', '1');
  expect(await done.exited).toMatchObject({ code: 0 });
  expect(done.stdout).toBe(
    'public.item: done, 50 rows\n' +
      'public.unheard: done, 0 rows (no subscription is sent inserts of it)\n',
  );
  expect(done.stderr).toMatch(/the rows of public.unheard are for nobody[^]*public.item: done/);
  expect(arrivals(receiver)).toHaveLength(100);

  const told = command(url, 'item', '--subscription', String(id), '--json');
  expect(await told.exited).toMatchObject({ code: 0 });
  expect(JSON.parse(told.stdout)).toMatchObject({
    requests: [2],
    tables: [
      { request: 2, schema: 'public', table: 'item', state: 'done', rows: 50, percent: 100 },
    ],
  });
}, 60_000);

test('what cannot be asked for is said with the way out, and nothing is asked for', async () => {
  const { sql, url } = await startItems();
  const gone = command(url, 'item', 'app.nope');
  expect(await gone.exited).toMatchObject({ code: 1 });
  expect(gone.stderr).toMatch(/ERROR {2}table app.nope does not exist[^]*HINT/);
  const odd = command(url, 'a.b.c');
  expect(await odd.exited).toMatchObject({ code: 2 });
  expect(odd.stderr).toMatch(/"a.b.c" is not the name of a table/);
  const share = command(url, 'item', '--share', '7');
  expect(await share.exited).toMatchObject({ code: 2 });
  expect(await sql`select from pgstream.snapshot_requests`).toHaveLength(0);
}, 60_000);

test('interrupted, it says how to cancel, and the request goes on', async () => {
  const { sql, url, runner, receiver, start } = await startItems();
  await runner.kill('SIGTERM');
  await sql`insert into item select generate_series(1, 5)`;
  const watching = command(url, 'item');
  await watching.waitForLog(/public.item: pending/);
  expect(await watching.kill('SIGINT')).toMatchObject({ code: 3 });
  expect(watching.stderr).toContain('delete from pgstream.snapshot_requests where id in (1);');
  await start();
  await inState(sql, 1, 'done');
  await drained(sql);
  expect(arrivals(receiver)).toHaveLength(10);
}, 60_000);

test('the tables of the settings are asked for once, however often the runner starts', async () => {
  const { sql, receiver, runner, start } = await startItems({
    subscription: { enabled: false },
  });
  await sql`insert into item select generate_series(1, 20)`;
  await sql`create schema test_schema`;
  await sql`create table test_schema.one (id integer primary key)`;
  await sql`create table test_schema.two (id integer primary key)`;
  await sql`insert into test_schema.one values (1)`;
  await confirmed(sql);
  await runner.kill('SIGTERM');
  await sql`delete from pgstream.webhook_subscriptions`;

  const env = { PGSTREAM_POSTGRES_SNAPSHOT_TABLES: 'test_schema.* item nope.nope' };
  let asking = await start(env);
  await asking.waitForLog(/table nope.nope does not exist.*cannot take the snapshot/);
  await inState(sql, 1, 'waiting');
  await sql`insert into pgstream.webhook_subscriptions (url) values (${receiver.url})`;
  await inState(sql, 1, 'done');
  await inState(sql, 2, 'done');
  await drained(sql);
  expect(receiver.requests).toHaveLength(21);

  await asking.kill('SIGTERM');
  asking = await start(env);
  await asking.waitForLog(/cannot take the snapshot of the settings/);
  await sql`insert into item values (21)`;
  await eventually(() => receiver.requests.length >= 22, patience);
  await drained(sql);
  expect(receiver.requests).toHaveLength(22);
  expect(await sql`select from pgstream.snapshot_requests`).toHaveLength(2);
}, 90_000);
