import { expect, onTestFinished, test } from 'vitest';
import { createForeignPair } from '../helpers/foreign.js';
import { patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';

interface Event {
  Data: { action: string; columns: { name: string; value: unknown }[] | null; identity: unknown };
}

test('a row that changes in a foreign database is a webhook, and an outage is told once', async () => {
  const pair = await createForeignPair();
  const receiver = await startReceiver();
  onTestFinished(async () => {
    await receiver.close();
    await pair.drop();
  });
  const { local, remote, localUrl } = pair;
  await remote`create table item (id integer primary key, note text)`;
  await remote`insert into item select n, 'old' from generate_series(1, 100) n`;
  await pair.importIt();
  await local`select pgstream.cache_foreign_table('shop.item', 'public.item',
    refresh_every => '1 second')`;
  await local`insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
    values (${receiver.url}, 'public', 'item')`;
  const runner = startRunner(['run', '--init'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: localUrl,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
    },
  });
  await runner.waitForLog(/"streaming"/);

  const events = () => receiver.requests.map(({ body }) => (JSON.parse(body) as Event).Data);
  await remote.begin(async (tx) => {
    await tx`update item set note = 'new' where id = 1`;
    await tx`delete from item where id = 2`;
    await tx`insert into item values (101, 'more')`;
  });
  await eventually(() => expect(events()).toHaveLength(3), patience);
  expect(
    events()
      .map(({ action, columns }) => [action, columns?.map(({ value }) => value)])
      .toSorted((a, b) => String(a[0]).localeCompare(String(b[0]))),
  ).toEqual([
    ['D', undefined],
    ['I', [101, 'more']],
    ['U', [1, 'new']],
  ]);

  await local.unsafe("alter server shop options (set port '1')");
  const failing = /"cannot connect|could not be refreshed"/;
  await runner.waitForLog(failing);
  await local`insert into item values (1000, 'the stream goes on')`;
  await eventually(() => expect(events()).toHaveLength(4), patience);
  await eventually(async () => {
    const [status] = await local`select failures > 1 as again from pgstream.cached_status`;
    expect(status).toEqual({ again: true });
  }, patience);
  expect(runner.stderr.match(/could not be refreshed/g)).toHaveLength(1);

  await local.unsafe(`alter server shop options (set port '${new URL(localUrl).port}')`);
  await remote`insert into item values (102, 'back')`;
  await eventually(async () => {
    expect(await local`select from item where id = 102`).toHaveLength(1);
    expect(await local`select from item where id = 1000`).toHaveLength(0);
  }, patience);
  expect((await runner.kill('SIGTERM')).code).toBe(0);
});
