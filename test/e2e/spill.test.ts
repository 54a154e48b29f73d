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
const inserts = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => `I ${from + i} 1`);

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
  await eventually(async () => {
    const [status] = await sql`
      select state, pending::integer from pgstream.webhook_status where url = ${receiver.url}`;
    expect(status).toEqual({ state: 'spilling', pending: 300 });
  }, patience);

  receiver.reply({});
  await sql`update item set version = 7`;
  await drained(sql);
  expect(accepted(receiver)).toHaveLength(350);
  expect(new Set(accepted(receiver).map(idOf)).size).toBe(350);
  expectRowsInOrder(arrivals(receiver));
  expect(accepted(other)).toHaveLength(350);
});

test('what is stored survives a crash in the outage and another in the drain, with ids and bytes', async () => {
  const { sql, receiver, id, start, runner } = await startItems({
    subscription: { max_in_flight: 8 },
  });
  receiver.reply(dead);
  await sql`insert into item select n, 1, E'\\t\\n\\\\ "ü" ' || n from generate_series(1, 400) n`;
  await confirmed(sql);
  await sql`update item set version = 2`;
  await runner.kill();
  const second = await start();
  await sql`update item set version = 3`;
  receiver.reply({ delay: 2 });
  await sql`select pgstream.replay(${id})`;
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

test('the only endpoint, if it takes events as fast as they are sent, is waited for, and nothing is stored', async () => {
  const { sql, receiver } = await startItems({ subscription: { max_in_flight: 64 } });
  receiver.reply({ delay: 40 });
  await sql`insert into item select generate_series(1, 7000)`;
  await receiver.waitUntil(() => accepted(receiver).length === 7000, patience);
  await confirmed(sql);
  const [table] =
    await sql`select pg_relation_size('pgstream.webhook_deliveries')::integer as bytes`;
  expect(table).toEqual({ bytes: 0 });
});

test('an event that is always refused holds up its own row alone, until it is skipped by a delete, also in batches', async () => {
  const { sql, receiver, other, subscribe } = await startItems();
  await subscribe({ url: other.url, batch_size: 5 });
  const both = [receiver, other];
  for (const one of both) {
    one.reply((request) => ({ status: tell(request).includes('I 1 1') ? 400 : 200 }));
  }
  await sql`insert into item values (1)`;
  await sql`do $$ begin
    for v in 2..601 loop update item set version = v where id = 1; end loop;
  end $$`;
  await sql`insert into item select generate_series(2, 1001)`;
  for (const one of both) await one.waitUntil(() => arrivals(one).length === 1000, patience);
  await confirmed(sql);
  await eventually(async () => expect(await stored(sql)).toBe(1202), patience);
  await sql`update item set version = 2 where id > 1000`;
  for (const one of both) {
    await one.waitUntil(() => arrivals(one).includes('U 1001 2'), patience);
    expect(arrivals(one).filter((event) => event.startsWith('U 1 '))).toEqual([]);
  }

  await sql`delete from pgstream.webhook_deliveries where action = 'I'`;
  await drained(sql);
  for (const one of both) {
    expect(arrivals(one)).not.toContain('I 1 1');
    expect(arrivals(one)).toHaveLength(1601);
    expectRowsInOrder(arrivals(one));
  }
});

test('a subscription that is paused keeps its events, and sends them in order when it goes on', async () => {
  const { sql, receiver, configure } = await startItems();
  await configure({ enabled: false });
  await sql`insert into item select generate_series(1, 20)`;
  await sql`update item set version = 2`;
  await confirmed(sql);
  expect(receiver.requests).toEqual([]);
  const paused = () => sql`
    select from pgstream.webhook_status where state = 'paused' and pending = 40`;
  await eventually(async () => (await paused()).length);
  await configure({ enabled: true });
  await sql`update item set version = 3`;
  await drained(sql);
  expect(arrivals(receiver)).toHaveLength(60);
  expectRowsInOrder(arrivals(receiver));
});

test('what is stored arrives byte for byte, also where there is very much to escape', async () => {
  const { sql, receiver, other, subscribe, configure } = await startItems();
  await subscribe({ url: other.url });
  await configure({ enabled: false });
  const texts = ['tab\tline\nreturn\r\b\\N\\.', '"\\'.repeat(2_000_000), 'ü€\u{1F600}\u0001', ''];
  for (const [i, note] of texts.entries()) {
    await sql`insert into item (id, note) values (${i}, ${note})`;
  }
  await other.waitFor(texts.length, patience);
  await eventually(async () => {
    const rows = await sql`select from pgstream.webhook_deliveries`;
    return rows.length === texts.length;
  }, patience);
  await configure({ enabled: true });
  await drained(sql);
  const bodies = ({ requests }: typeof receiver) => requests.map(({ body }) => body).sort();
  expect(bodies(receiver)).toEqual(bodies(other));
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
});

test('what is given up stays as a dead letter, does not hold up its row, and can be replayed with a header', async () => {
  const { sql, receiver, other, id, subscribe } = await startItems({
    subscription: { retry_for: '0' },
  });
  const blocking = await subscribe({ url: other.url, retry_for: '0', on_exhausted: 'block' });
  for (const one of [receiver, other]) {
    one.reply((request) => ({ status: tell(request)[0] === 'I 1 1' ? 500 : 200 }));
  }
  await sql`insert into item values (1), (2)`;
  await sql`update item set version = 2`;
  await receiver.waitUntil(() => arrivals(receiver).length === 3, patience);
  await other.waitUntil((all) => all.filter(({ status }) => status === 500).length > 2);
  await confirmed(sql);
  expect(arrivals(receiver).sort()).toEqual(['I 2 1', 'U 1 2', 'U 2 2']);
  expect(arrivals(other)).toEqual(['I 2 1', 'U 2 2']);
  expect(
    await sql`
    select subscription::integer, action, state from pgstream.webhook_deliveries
    order by subscription, ordinal, action`,
  ).toEqual([
    { subscription: id, action: 'I', state: 'dead' },
    { subscription: blocking, action: 'I', state: 'pending' },
    { subscription: blocking, action: 'U', state: 'pending' },
  ]);
  const first = receiver.requests.find((request) => tell(request)[0] === 'I 1 1')!;
  expect(first.headers['webhook-replay']).toBeUndefined();
  expect(receiver.requests).toHaveLength(4);

  for (const one of [receiver, other]) one.reply({});
  await sql`select pgstream.replay(subscription => ${id}, state => 'dead')`;
  await drained(sql);
  const again = accepted(receiver).at(-1)!;
  expect([idOf(again), again.body]).toEqual([idOf(first), first.body]);
  expect(again.headers['webhook-replay']).toBe('true');
  expect(arrivals(other)).toEqual(['I 2 1', 'U 2 2', 'I 1 1', 'U 1 2']);
});

test('at a quota that holds, the slot waits and nothing is lost', async () => {
  const { sql, receiver, id } = await startItems({ subscription: { spill_quota: 4_000 } });
  receiver.reply(dead);
  await sql`do $$ begin
    for n in 1..100 loop insert into item values (n); commit; end loop;
  end $$`;
  await eventually(async () => expect(await stored(sql)).toBeGreaterThan(5), patience);
  await eventually(async () => {
    const [status] = await sql`
      select pending::integer, quota_used::float8 from pgstream.webhook_status`;
    expect(status!['pending']).toBe(100);
    expect(status!['quota_used']).toBeGreaterThan(80);
  });
  const slot = () => sql<{ held: boolean }[]>`
    select confirmed_flush_lsn < pg_current_wal_insert_lsn() - 1000 as held
    from pg_replication_slots where database = current_database()`;
  expect(await slot()).toEqual([{ held: true }]);
  receiver.reply({});
  await sql`select pgstream.replay(${id})`;
  await drained(sql);
  expect(arrivals(receiver).sort()).toEqual(inserts(1, 100).sort());
});

test('at a quota that disables, the subscription is disabled with a reason, and what is lost is counted', async () => {
  const { sql, receiver, configure } = await startItems({
    subscription: { spill_quota: 4_000, on_quota: 'disable' },
  });
  receiver.reply(dead);
  await sql`insert into item select generate_series(1, 100)`;
  await confirmed(sql);
  const kept = await stored(sql);
  expect(kept).toBeGreaterThan(5);
  await eventually(async () => {
    const statuses = await sql`
      select state, disabled_reason, dropped::integer from pgstream.webhook_status`;
    const reason = 'the spill quota was reached';
    expect(statuses).toEqual([{ state: 'disabled', disabled_reason: reason, dropped: 100 - kept }]);
  });
  receiver.reply({});
  await configure({ enabled: true });
  await drained(sql);
  expect(arrivals(receiver).sort()).toEqual(inserts(1, kept).sort());
});

test('at a quota that drops the oldest, the newest arrive, and what is lost is counted', async () => {
  const { sql, receiver, configure } = await startItems({
    subscription: { spill_quota: 4_000, on_quota: 'drop_oldest', enabled: false },
  });
  await sql`do $$ begin
    for n in 1..100 loop insert into item values (n); commit; end loop;
  end $$`;
  await confirmed(sql);
  await eventually(async () => {
    const kept = await stored(sql);
    expect(kept).toBeLessThan(50);
    expect(await sql`select dropped::integer from pgstream.webhook_status`).toEqual([
      { dropped: 100 - kept },
    ]);
  });
  const kept = await stored(sql);
  await configure({ enabled: true });
  await drained(sql);
  const newest = inserts(101 - kept, 100);
  expect(arrivals(receiver).sort()).toEqual(newest.sort());
});

test('what another system has stored is delivered first, and is not lost', async () => {
  const { sql, receiver, id, start, runner } = await startItems({
    subscription: { max_in_flight: 1 },
  });
  receiver.reply(dead);
  await sql`insert into item values (1)`;
  await confirmed(sql);
  await runner.kill();
  await sql`
    insert into pgstream.webhook_deliveries
      (webhook_id, subscription, commit_lsn, ordinal, schema_name, table_name, action,
       committed_at, lane_tables, lane_keys, barrier, body)
    select 'evt_elsewhere_' || n, ${id}, 'FFFFFF/0', n, 'public', 'item', 'I', now(), '{1}', array[n],
           false, replace(body, '"value":1', '"value":9')
    from pgstream.webhook_deliveries, generate_series(1, 2) n`;
  receiver.reply({});
  await sql`insert into item values (2)`;
  await start();
  await drained(sql);
  expect(accepted(receiver).slice(0, 2).map(idOf)).toEqual(['evt_elsewhere_1', 'evt_elsewhere_2']);
  expect(arrivals(receiver).slice(2)).toEqual(['I 1 1', 'I 2 1']);
});

test('what somebody deletes makes room in a quota that holds', async () => {
  const { sql, configure } = await startItems({ subscription: { enabled: false } });
  await sql`insert into item values (1, 1, repeat('x', 1000))`;
  await confirmed(sql);
  await configure({ spill_quota: 2_000 });
  await sql`insert into item values (2, 1, repeat('x', 1000))`;
  const pending = () => sql`select from pgstream.webhook_status where pending = 2`;
  await eventually(async () => (await pending()).length);
  expect(await stored(sql)).toBe(1);
  await sql`delete from pgstream.webhook_deliveries`;
  await confirmed(sql);
  expect(await stored(sql)).toBe(1);
});
