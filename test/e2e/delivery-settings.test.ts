import { createPrivateKey, createPublicKey, randomBytes, verify } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
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
  type Request,
} from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import type { Receiver } from '../helpers/receiver.js';

const dead = { status: 503 };
/** Long enough for whatever can begin to begin. */
const nextTurn = () => setTimeout(5);
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Answers after a moment, and counts how many requests are under way at once, and of one row. */
function observe(receiver: Receiver) {
  const seen = { most: 0, mostOfRow: 0 };
  const underWay: string[] = [];
  receiver.reply(async (request) => {
    const row = tell(request)[0]!.split(' ')[1]!;
    underWay.push(row);
    seen.most = Math.max(seen.most, underWay.length);
    seen.mostOfRow = Math.max(seen.mostOfRow, underWay.filter((other) => other === row).length);
    await nextTurn();
    underWay.splice(underWay.indexOf(row), 1);
    return {};
  });
  return seen;
}

test('strict sends one request at a time, over all tables in the order of their commits', async () => {
  const { sql, receiver, start, runner } = await startItems({
    subscription: { ordering: 'strict', table_name: '*', schema_name: 'public' },
  });
  await sql`create table other_item (id integer primary key, version integer default 1)`;
  receiver.reply(dead);
  const expected: string[] = [];
  await sql`do $$ begin
    for n in 1..150 loop
      insert into item values (n); insert into other_item values (n, 2); commit;
    end loop;
  end $$`;
  for (const n of numbers(1, 150)) expected.push(`I ${n} 1`, `I ${n} 2`);
  await confirmed(sql);
  await runner.kill();
  const seen = observe(receiver);
  await start();
  await sql`insert into item values (0, 3)`;
  await drained(sql);
  expect(arrivals(receiver)).toEqual([...expected, 'I 0 3']);
  expect(seen.most).toBe(1);
});

test('without order, changes of one row go side by side, as many as may be under way', async () => {
  const { sql, receiver } = await startItems({
    subscription: { ordering: 'none', max_in_flight: 4, rate: 400 },
  });
  const seen = observe(receiver);
  await sql`insert into item values (1)`;
  for (let i = 2; i <= 60; i++) await sql`update item set version = ${i}`;
  await confirmed(sql);
  expect(new Set(accepted(receiver).map(idOf)).size).toBe(60);
  expect(seen).toEqual({ most: 4, mostOfRow: 4 });
});

test('a rate limits how many requests are made in a second', async () => {
  const { sql, receiver } = await startItems({ subscription: { rate: 50 } });
  await sql`insert into item select generate_series(1, 70)`;
  await confirmed(sql);
  const at = receiver.requests.map((request) => request.at);
  const most = Math.max(
    ...at.map((start) => at.filter((t) => t >= start && t < start + 1000).length),
  );
  expect(most).toBeLessThanOrEqual(62);
  expect(accepted(receiver)).toHaveLength(70);
});

test('a batch is an array in order, with an id made of those of its members', async () => {
  const { sql, receiver } = await startItems({
    subscription: { batch_size: 10, batch_wait: '200 ms' },
  });
  const failed = new Set<string>();
  receiver.reply((request) => {
    const isNew = !failed.has(idOf(request));
    failed.add(idOf(request));
    return isNew ? dead : {};
  });
  for (const n of numbers(1, 8)) await sql`insert into item values (${n})`;
  for (let i = 2; i <= 5; i++) await sql`update item set version = ${i}`;
  await drained(sql);
  const members = new Map<string, string>();
  const bodies = new Map<string, string>();
  for (const request of receiver.requests) {
    const ids = request.headers['pgstream-event-ids'] as string;
    expect(ids.split(' ')).toHaveLength(tell(request).length);
    expect(tell(request).length).toBeLessThanOrEqual(10);
    expect(members.get(idOf(request)) ?? ids).toBe(ids);
    expect(bodies.get(idOf(request)) ?? request.body).toBe(request.body);
    members.set(idOf(request), ids);
    bodies.set(idOf(request), request.body);
  }
  const ids = accepted(receiver).flatMap(({ headers }) =>
    (headers['pgstream-event-ids'] as string).split(' '),
  );
  expect(new Set(ids).size).toBe(40);
  expect(ids).toHaveLength(40);
  expectRowsInOrder(arrivals(receiver));
  expect(accepted(receiver).length).toBeLessThan(20);
});

test('a batch that is refused is taken apart before any of it is given up', async () => {
  const { sql, receiver } = await startItems({
    subscription: { batch_size: 8, batch_wait: '1 s', retry_for: '0' },
  });
  receiver.reply((request) => ({ status: tell(request).includes('I 3 1') ? 422 : 200 }));
  await sql`insert into item select generate_series(1, 8)`;
  await receiver.waitUntil(() => arrivals(receiver).length === 7, patience);
  await eventually(async () => {
    expect(await sql`select state from pgstream.webhook_deliveries`).toEqual([{ state: 'dead' }]);
  });
});

const hmac = () => `whsec_${randomBytes(32).toString('base64')}`;

function isSignedBy(secret: string, request: Request): boolean {
  const headers = request.headers as Record<string, string>;
  const bytes = Buffer.from(secret.slice('whsk_'.length), 'base64');
  if (secret.startsWith('whsec_')) {
    try {
      new Webhook(secret).verify(request.body, headers);
      return true;
    } catch {
      return false;
    }
  }
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), bytes]);
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${request.body}`;
  return headers['webhook-signature']!.split(' ').some((signature) => {
    const [scheme, base64 = ''] = signature.split(',');
    return (
      scheme === 'v1a' && verify(null, Buffer.from(signed), key, Buffer.from(base64, 'base64'))
    );
  });
}

test('each request is signed with all secrets, also while one replaces another', async () => {
  const [old, next, asymmetric] = [hmac(), hmac(), `whsk_${randomBytes(32).toString('base64')}`];
  const { sql, receiver, configure } = await startItems({
    subscription: { secret: `${old} ${asymmetric}`, batch_size: 2 },
  });
  receiver.reply(() => (receiver.requests.length < 4 ? dead : {}));
  await sql`insert into item select n, 1, 'ünï' || n from generate_series(1, 20) n`;
  await confirmed(sql);
  await configure({ secret: `${old} ${next}` });
  await sql`update item set version = 2`;
  await confirmed(sql);
  await configure({ secret: next });
  await sql`update item set version = 3`;
  await drained(sql);
  const signers: Record<string, string[]> = {
    I: [old, asymmetric],
    U2: [old, next],
    U3: [next],
  };
  for (const request of receiver.requests) {
    const [action, , version] = tell(request)[0]!.split(' ');
    const expected = signers[action === 'I' ? 'I' : `U${version}`]!;
    const actual = [old, next, asymmetric].filter((secret) => isSignedBy(secret, request));
    expect(new Set(actual)).toEqual(new Set(expected));
  }
  expect(arrivals(receiver)).toHaveLength(60);
});

test('an endpoint that says in seconds or as a date when to retry is left alone until then', async () => {
  const { sql, receiver, id } = await startItems({ subscription: { max_in_flight: 1 } });
  let retryAfter = '3600';
  receiver.reply(() => ({ status: 429, headers: { 'retry-after': retryAfter } }));
  const isLeftAlone = async (requests: number) => {
    await receiver.waitFor(requests);
    await eventually(async () => {
      expect(
        await sql`
        select next_attempt_at > now() + interval '50 min' as later
        from pgstream.webhook_status`,
      ).toEqual([{ later: true }]);
    });
    expect(receiver.requests).toHaveLength(requests);
  };
  await sql`insert into item values (1), (2)`;
  await isLeftAlone(1);
  retryAfter = new Date(Date.now() + 3_600_000).toUTCString();
  await sql`select pgstream.replay(${id})`;
  await isLeftAlone(2);
  receiver.reply({});
  await sql`select pgstream.replay(${id})`;
  await drained(sql);
  expect(arrivals(receiver).sort()).toEqual(['I 1 1', 'I 2 1']);
});

test('a truncate and a change of the schema stand between what came before and after, also in the table', async () => {
  const { sql, receiver, id } = await startItems({
    subscription: { schema_name: '', table_name: '' },
  });
  receiver.reply(dead);
  await sql`insert into item select generate_series(1, 30)`;
  await sql`truncate item`;
  await sql`insert into item select generate_series(1, 30), 2`;
  await sql`alter table item add column more text`;
  await sql`update item set version = 3`;
  await confirmed(sql);
  const log: string[] = [];
  receiver.reply(async (request) => {
    const { Data } = JSON.parse(request.body) as { Data: { table: string } };
    const event = Data.table === 'item' ? tell(request)[0]! : Data.table;
    const phase = event === 'T' || event === 'schema_log' ? event : event.split(' ')[2]!;
    log.push(`${phase} begins`);
    await nextTurn();
    log.push(`${phase} ends`);
    return {};
  });
  await sql`select pgstream.replay(${id})`;
  await drained(sql);
  const phases = ['1', 'T', '2', 'schema_log', '3'];
  for (const [i, phase] of phases.slice(1).entries()) {
    const end = log.lastIndexOf(`${phases[i]} ends`);
    expect(end, phase).toBeGreaterThanOrEqual(0);
    expect(log.indexOf(`${phase} begins`), phase).toBeGreaterThan(end);
  }
});

test('what waits for a subscription goes with it, also what is just being stored', async () => {
  const { sql, receiver } = await startItems({
    env: { PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES: '64MB' },
  });
  receiver.reply(dead);
  await sql`insert into item select generate_series(1, 30000)`;
  await eventually(async () => (await stored(sql)) > 0, { interval: 5 });
  await sql`delete from pgstream.webhook_subscriptions`;
  await drained(sql);
  expect(await sql`select from pgstream.subscription_state`).toHaveLength(0);
});

test('rows that somebody has locked hold up nothing but themselves', async () => {
  const { sql, receiver, id, configure } = await startItems();
  receiver.reply((request) => (tell(request).includes('I 1 1') ? dead : {}));
  await sql`insert into item values (1)`;
  await confirmed(sql);
  await sql.begin(async (transaction) => {
    await transaction`select from pgstream.webhook_deliveries for update`;
    const [last] = receiver.requests.slice(-1);
    // What has failed is tried again at once.
    await configure({ retry_for: '0', timeout: '5 s' });
    await receiver.waitUntil((all) => all.at(-1) !== last);
    await sql`insert into item values (2)`;
    await receiver.waitUntil(() => arrivals(receiver).includes('I 2 1'));
    await sql`update item set version = 2`;
    await confirmed(sql);
  });
  await eventually(async () => {
    expect(await sql`select state from pgstream.webhook_deliveries`).toEqual([{ state: 'dead' }]);
  }, patience);
  receiver.reply({});
  await sql`select pgstream.replay(${id})`;
  await drained(sql);
  expect(arrivals(receiver)).toContain('I 1 1');
  expect(arrivals(receiver)).toHaveLength(4);
});

test('what somebody sets aside as dead is neither sent nor taken out of the table', async () => {
  const { sql, receiver } = await startItems();
  receiver.reply((request) => (tell(request)[0] === 'I 1 1' ? dead : {}));
  await sql`insert into item values (1)`;
  await sql`update item set version = 2`;
  await confirmed(sql);
  await sql`update pgstream.webhook_deliveries set state = 'dead' where action = 'I'`;
  await receiver.waitUntil(() => arrivals(receiver).includes('U 1 2'), patience);
  await confirmed(sql);
  await eventually(async () => {
    expect(await sql`select state from pgstream.webhook_deliveries`).toEqual([{ state: 'dead' }]);
  });
  expect(arrivals(receiver)).toEqual(['U 1 2']);
});
