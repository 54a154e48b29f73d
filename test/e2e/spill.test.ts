import { expect, test } from 'vitest';
import {
  accepted,
  arrivals,
  confirmed,
  drained,
  expectRowsInOrder,
  idOf,
  patience,
  startItems,
  stored,
  tell,
} from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';

const dead = { status: 503 };

test('an endpoint that is away holds up neither the slot nor another endpoint, and gets all in order when it is back', async () => {
  const { sql, receiver, other, subscribe } = await startItems();
  await subscribe({ url: other.url });
  receiver.reply(dead);
  await sql`insert into item select generate_series(1, 50)`;
  for (let i = 0; i < 5; i++) await sql`update item set version = version + 1`;
  await other.waitUntil(() => accepted(other).length === 300);
  expect(arrivals(receiver)).toEqual([]);
  await confirmed(sql);
  expect(await stored(sql)).toBe(300);
  const [status] = await sql`
    select state, pending::integer from pgstream.webhook_status where url = ${receiver.url}`;
  expect(status).toEqual({ state: 'spilling', pending: 300 });

  receiver.reply({});
  await sql`update item set version = 7`;
  await drained(sql);
  expect(accepted(receiver)).toHaveLength(350);
  expect(new Set(accepted(receiver).map(idOf)).size).toBe(350);
  expectRowsInOrder(arrivals(receiver));
  expect(accepted(other)).toHaveLength(350);
});

test('what is stored survives a crash in the outage and another in the drain, with ids and bytes', async () => {
  const given = await startItems({ subscription: { max_in_flight: 8 } });
  const { sql, receiver, start, runner } = given;
  receiver.reply(dead);
  await sql`insert into item select generate_series(1, 400)`;
  await confirmed(sql);
  await sql`update item set version = 2`;
  await runner.kill();
  const second = await start();
  await sql`update item set version = 3`;
  receiver.reply({ delay: 2 });
  await receiver.waitUntil(() => accepted(receiver).length >= 300, patience);
  await second.kill();
  expect(arrivals(receiver).length).toBeLessThan(1200);
  await sql`update item set version = 4`;
  await start();
  await drained(sql);
  const bodies = new Map<string, string>();
  for (const request of receiver.requests) {
    expect(request.body).toBe(bodies.get(idOf(request)) ?? request.body);
    bodies.set(idOf(request), request.body);
  }
  expect(bodies.size).toBe(1600);
  expect(new Set(arrivals(receiver)).size).toBe(1600);
  expectRowsInOrder(arrivals(receiver));
});

test('an endpoint that is slower than its events come spills them, and another one gets them at once', async () => {
  const { sql, receiver, other, subscribe } = await startItems({
    subscription: { max_in_flight: 1 },
    env: { PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES: '1MB' },
  });
  await subscribe({ url: other.url });
  receiver.reply({ delay: 1_000 });
  await sql`insert into item select n, 1, repeat('x', 100000) from generate_series(1, 40) n`;
  await other.waitUntil(() => accepted(other).length === 40);
  await confirmed(sql);
  expect(await stored(sql)).toBeGreaterThan(20);
  expect(accepted(receiver).length).toBeLessThan(20);
  receiver.reply({});
  await drained(sql);
  expect(arrivals(receiver).sort()).toEqual(arrivals(other).sort());
});

test.each([1, 5])(
  'an event that is always refused holds up its own row alone, until it is skipped by a delete, at %i a request',
  async (size) => {
    const { sql, receiver } = await startItems({ subscription: { batch_size: size } });
    receiver.reply((request) => ({ status: tell(request).includes('I 1 1') ? 400 : 200 }));
    await sql`insert into item values (1)`;
    await sql`do $$ begin
      for v in 2..601 loop update item set version = v where id = 1; end loop;
    end $$`;
    await sql`insert into item select generate_series(2, 1001)`;
    await receiver.waitUntil(() => arrivals(receiver).length === 1000, patience);
    await confirmed(sql);
    await eventually(async () => expect(await stored(sql)).toBe(601), patience);
    await sql`update item set version = 2 where id > 1000`;
    await receiver.waitUntil(() => arrivals(receiver).includes('U 1001 2'), patience);
    expect(arrivals(receiver).filter((event) => event.startsWith('U 1 '))).toEqual([]);

    await sql`delete from pgstream.webhook_deliveries where action = 'I'`;
    await drained(sql);
    expect(arrivals(receiver)).not.toContain('I 1 1');
    expect(arrivals(receiver)).toHaveLength(1601);
    expectRowsInOrder(arrivals(receiver));
  },
);

test('a subscription that is paused keeps its events, and sends them in order when it goes on', async () => {
  const { sql, receiver, configure } = await startItems();
  await configure({ enabled: false });
  await sql`insert into item select generate_series(1, 20)`;
  await sql`update item set version = 2`;
  await confirmed(sql);
  expect(receiver.requests).toEqual([]);
  await eventually(async () => {
    expect(await sql`select state, pending::integer from pgstream.webhook_status`).toEqual([
      { state: 'paused', pending: 40 },
    ]);
  });
  await configure({ enabled: true });
  await sql`update item set version = 3`;
  await drained(sql);
  expect(arrivals(receiver)).toHaveLength(60);
  expectRowsInOrder(arrivals(receiver));
});

test('410 disables a subscription, and its events wait until it is enabled again', async () => {
  const { sql, receiver, configure } = await startItems();
  receiver.reply({ status: 410 });
  await sql`insert into item values (1)`;
  const status = () => sql`
    select state, enabled, disabled_reason from pgstream.webhook_status`;
  await eventually(async () => {
    expect(await status()).toEqual([
      { state: 'disabled', enabled: false, disabled_reason: 'the endpoint answered 410 Gone' },
    ]);
  });
  receiver.reply({});
  await sql`update item set version = 2`;
  await confirmed(sql);
  expect(await stored(sql)).toBe(2);
  await configure({ enabled: true });
  await drained(sql);
  expect(arrivals(receiver)).toEqual(['I 1 1', 'U 1 2']);
  await eventually(async () => {
    expect(await status()).toEqual([{ state: 'healthy', enabled: true, disabled_reason: null }]);
  });
});

test('what is given up stays as a dead letter, does not hold up its row, and can be replayed with a header', async () => {
  const { sql, receiver, id } = await startItems({ subscription: { retry_for: '0' } });
  receiver.reply((request) => ({ status: tell(request)[0]!.startsWith('I') ? 500 : 200 }));
  await sql`insert into item values (1), (2)`;
  await sql`update item set version = 2`;
  const count = (state: string) => sql`
    select count(*)::integer as count from pgstream.webhook_deliveries where state = ${state}`;
  await eventually(async () => expect(await count('dead')).toEqual([{ count: 2 }]), patience);
  await receiver.waitUntil(() => arrivals(receiver).length === 2, patience);
  await confirmed(sql);
  const first = receiver.requests.find((request) => tell(request)[0] === 'I 1 1')!;
  expect(first.headers['webhook-replay']).toBeUndefined();
  expect(receiver.requests).toHaveLength(4);

  receiver.reply({});
  await sql`select pgstream.replay(subscription => ${id}, state => 'dead')`;
  await drained(sql);
  const again = accepted(receiver).find((request) => tell(request)[0] === 'I 1 1')!;
  expect([idOf(again), again.body]).toEqual([idOf(first), first.body]);
  expect(again.headers['webhook-replay']).toBe('true');
  expect(accepted(receiver)).toHaveLength(4);
});

test('a subscription that blocks gives nothing up', async () => {
  const { sql, receiver } = await startItems({
    subscription: { retry_for: '0', on_exhausted: 'block' },
  });
  receiver.reply((request) => ({ status: tell(request)[0] === 'I 1 1' ? 500 : 200 }));
  await sql`insert into item values (1), (2)`;
  await sql`update item set version = 2`;
  await receiver.waitUntil((all) => all.filter(({ status }) => status === 500).length > 2);
  await confirmed(sql);
  expect(
    await sql`
    select state, count(*)::integer from pgstream.webhook_deliveries group by state`,
  ).toEqual([{ state: 'pending', count: 2 }]);
  expect(arrivals(receiver)).toEqual(['I 2 1', 'U 2 2']);
});
