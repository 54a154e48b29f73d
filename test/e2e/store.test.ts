/** Subscriptions that are kept in another database than the one whose changes are sent. */
import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { Webhook } from 'standardwebhooks';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/embedded/start.js';
import { createDatabase } from '../helpers/database.js';
import { confirmed, patience, tell } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';

/** A source with table `item`, a store on a server of its own, and a runner between them. */
async function startStore(refreshInterval = '10m') {
  const source = await createDatabase();
  const server = await startPostgres();
  const receiver = await startReceiver();
  const store = postgres(server.url, { max: 2, onnotice: () => undefined });
  onTestFinished(async () => {
    await receiver.close();
    await store.end({ timeout: 1 });
    await server.stop('immediate');
    await source.drop();
  });
  await source.sql`create table item (id integer primary key, version integer default 1)`;
  const start = async () => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: source.url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_URL: server.url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_REFRESH_INTERVAL: refreshInterval,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        PGSTREAM_LOG_LEVEL: 'debug',
      },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    const [, address] = await runner.waitForLog(/"url":"(http:[^"]+)"/, patience);
    await runner.waitForLog(/"streaming"/, patience);
    return { runner, address: address! };
  };
  const subscribe = async (row: Record<string, string | number | boolean> = {}) => {
    const [made] = await store<{ id: number }[]>`
      insert into pgstream.webhook_subscriptions
        ${store({ url: receiver.url, table_name: 'item', ...row })}
      returning id::integer`;
    return made!.id;
  };
  const state = async (id: number) => {
    const [row] = await store<{ state: string; delivered: string; last_error: string | null }[]>`
      select state, delivered::text, last_error from pgstream.webhook_status where id = ${id}`;
    return row;
  };
  const inForce = (id: number) =>
    eventually(async () => {
      const rows = await source.sql`
        select from pgstream.webhook_status s
        join pgstream.webhook_subscriptions w on w.id = s.id
        where w.store_id = ${id} and s.state <> 'starting'`;
      expect(rows).toHaveLength(1);
    }, patience);
  return { source: source.sql, store, server, receiver, start, subscribe, state, inForce };
}

test('what is subscribed to, changed and deleted in the store holds in the source, and the store shows how it does', async () => {
  const { source, store, receiver, start, subscribe, state, inForce } = await startStore();
  const { address } = await start();
  const id = await subscribe();
  await inForce(id);
  await source`insert into item values (1)`;
  await receiver.waitFor(1, patience);
  await eventually(async () => {
    expect(await state(id)).toMatchObject({ state: 'healthy', delivered: '1' });
  }, patience);

  await store`update pgstream.webhook_subscriptions set event_types = '{U}', name = 'renamed'`;
  await eventually(async () => {
    const rows = await source`
      select name, event_types::text as types from pgstream.webhook_subscriptions`;
    expect(rows).toMatchObject([{ name: 'renamed', types: '{U}' }]);
  }, patience);
  await inForce(id);
  await source`insert into item values (2)`;
  await source`update item set version = 2 where id = 2`;
  await receiver.waitFor(2, patience);
  expect(receiver.requests.flatMap(tell)).toEqual(['I 1 1', 'U 2 2']);

  const listed = await (await fetch(`${address}/webhooks`)).json();
  expect(listed).toMatchObject([{ id, name: 'renamed' }]);
  const gone = await fetch(`${address}/webhooks/${id}`, { method: 'DELETE' });
  expect(gone.status).toBe(200);
  await eventually(async () => {
    expect(await source`select from pgstream.webhook_subscriptions`).toHaveLength(0);
  }, patience);
});

test('while the store is away events are delivered, requests are answered 503, and what changes then holds when it is back', async () => {
  const { source, server, receiver, start, subscribe, inForce } = await startStore();
  const first = await start();
  await inForce(await subscribe());
  await server.crash();
  await source`insert into item values (1)`;
  await receiver.waitFor(1, patience);
  await eventually(async () => {
    expect((await fetch(`${first.address}/webhooks`)).status).toBe(503);
  }, patience);
  expect((await fetch(`${first.address}/ready`)).status).toBe(200);
  await source`insert into item values (2)`;
  await receiver.waitFor(2, patience);

  await server.restart();
  await eventually(async () => {
    expect((await fetch(`${first.address}/webhooks`)).status).toBe(200);
  }, patience);
  await inForce(await subscribe({ name: 'second' }));
  await source`insert into item values (3)`;
  await receiver.waitFor(4, patience);
  expect(receiver.requests.flatMap(tell)).toEqual(['I 1 1', 'I 2 1', 'I 3 1', 'I 3 1']);
});

test('410 disables the subscription in the store, and enabling it there sends what has waited', async () => {
  const { source, store, receiver, start, subscribe, state, inForce } = await startStore();
  await start();
  const id = await subscribe();
  await inForce(id);
  receiver.reply({ status: 410 });
  await source`insert into item values (1)`;
  await eventually(
    async () => expect(await state(id)).toMatchObject({ state: 'disabled' }),
    patience,
  );
  await eventually(async () => {
    const rows = await source`select enabled from pgstream.webhook_subscriptions`;
    expect(rows).toEqual([{ enabled: false }]);
  }, patience);
  receiver.reply({});
  await store`update pgstream.webhook_subscriptions set enabled = true`;
  await receiver.waitUntil((all) => all.some(({ status }) => status === 200), patience);
  await confirmed(source);
});

test('a subscription that the source has of its own stands, and the store says why its like is not followed', async () => {
  const { source, receiver, start, subscribe, state, inForce } = await startStore('1s');
  await start();
  await source`
    insert into pgstream.webhook_subscriptions (url, table_name) values (${receiver.url}, 'item')`;
  const same = await subscribe();
  const other = await subscribe({ name: 'other' });
  await inForce(other);
  await eventually(async () => {
    expect(await state(same)).toMatchObject({
      state: 'invalid',
      last_error: expect.stringContaining('subscribed_already'),
    });
  }, patience);
  await source`delete from pgstream.webhook_subscriptions where store_id is null`;
  await inForce(same);
});

test('a secret that is given in the store signs, is not copied again and again, and can be changed', async () => {
  const { source, store, receiver, start, subscribe, inForce } = await startStore('300ms');
  await start();
  const secrets = [0, 1].map(() => `whsec_${randomBytes(32).toString('base64')}`);
  const id = await subscribe({ secret: secrets[0]! });
  await inForce(id);
  const changes = async () => {
    const [row] = await source`select max(id)::text as last from pgstream.subscription_changes`;
    return row!['last'] as string;
  };
  const before = await changes();
  await source`insert into item values (1)`;
  await receiver.waitFor(1, patience);
  await source`select pg_sleep(1)`;
  expect(await changes()).toBe(before);
  await store`update pgstream.webhook_subscriptions set secret = ${secrets[1]!}`;
  await eventually(async () => expect(await changes()).not.toBe(before), patience);
  await source`insert into item values (2)`;
  const requests = await receiver.waitFor(2, patience);
  requests.forEach(({ body, headers }, i) => {
    new Webhook(secrets[i]!).verify(body, headers as Record<string, string>);
  });
  const [row] = await source`
    select to_jsonb(s)::text as text from pgstream.webhook_subscriptions s`;
  expect(row!['text']).not.toContain('whsec_');
});
