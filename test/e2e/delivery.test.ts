import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { eventually } from '../helpers/poll.js';
import {
  confirmed,
  idOf,
  patience,
  startItems,
  tell as tellAll,
  type Request,
} from '../helpers/items.js';

/** Long enough for whatever can begin to begin. */
const nextTurn = () => setTimeout(5);
const tell = (request: Request) => tellAll(request)[0]!;
const answered = ({ status = 500 }: Request) => status < 300;

test.each([
  ['answers 500', { status: 500 }],
  ['breaks the connection off', { fault: 'reset' }],
  ['does not answer within the timeout of the subscription', { fault: 'hang' }],
] as const)(
  'an event whose endpoint %s is sent again and holds up its own row, no other row and no other endpoint',
  async (_, failure) => {
    const { sql, receiver, other, subscribe } = await startItems({
      subscription: { timeout: '300 ms' },
    });
    await subscribe({ url: other.url });
    receiver.reply((request) => (tell(request).includes(' 1 ') ? failure : {}));
    await sql`insert into item (id) values (1), (2)`;
    await sql`update item set version = 2`;
    await sql`delete from item`;
    await other.waitUntil((all) => all.filter(answered).length === 6);
    await receiver.waitUntil((all) => all.filter(answered).length === 3);
    expect(receiver.requests.filter(answered).map(tell)).toEqual(['I 2 1', 'U 2 2', 'D 2']);
    await receiver.waitUntil((all) => all.length >= 5);
    const [first, ...again] = receiver.requests.filter((request) => !answered(request));
    expect(tell(first!)).toBe('I 1 1');
    for (const retry of again) {
      expect([retry.body, idOf(retry)]).toEqual([first!.body, idOf(first!)]);
    }

    receiver.reply({});
    await confirmed(sql);
    expect(receiver.requests.filter(answered).slice(3).map(tell)).toEqual([
      'I 1 1',
      'U 1 2',
      'D 1',
    ]);
  },
);

test('the slot stays before an event that is not delivered, which comes again after a crash with its id and bytes', async () => {
  const { sql, receiver, start, runner } = await startItems();
  receiver.reply((request) => ({ status: tell(request) === 'I 2 1' ? 500 : 200 }));
  await sql`insert into item (id) values (1)`;
  const [before] = await sql<{ lsn: string }[]>`select pg_current_wal_insert_lsn() as lsn`;
  await sql`insert into item (id) values (2)`;
  await sql`insert into item (id) values (3)`;
  await sql`create table unrelated as select generate_series(1, 1000)`;
  const failed = () => receiver.requests.filter((request) => !answered(request));
  await eventually(() => failed().length >= 3, patience);
  const held = () => sql`
    select confirmed_flush_lsn <= ${before!.lsn}::pg_lsn as held
    from pg_replication_slots where database = current_database()`;
  expect(await held()).toEqual([{ held: true }]);

  await runner.kill();
  const count = failed().length;
  await start();
  await eventually(() => failed().length > count, patience);
  expect(await held()).toEqual([{ held: true }]);
  expect(new Set(failed().map(idOf)).size).toBe(1);
  expect(new Set(failed().map(({ body }) => body)).size).toBe(1);
  receiver.reply({});
  await confirmed(sql);
  expect(receiver.requests.filter(answered).map(tell)).toContain('I 2 1');
});

test('201 and 204 are as good as 200, and a redirect is a failure that is not followed', async () => {
  const { sql, receiver, other } = await startItems();
  let redirects = 0;
  receiver.reply((request) => {
    const [, id = ''] = tell(request).split(' ');
    if (id === '300' && redirects++ < 2) {
      return { status: 301 + redirects, headers: { location: other.url } };
    }
    return { status: id === '300' ? 200 : Number(id) };
  });
  await sql`insert into item (id) values (201), (204), (299), (300)`;
  await confirmed(sql);
  expect(receiver.requests.map((request) => `${tell(request)}: ${request.status}`).sort()).toEqual([
    'I 201 1: 201',
    'I 204 1: 204',
    'I 299 1: 299',
    'I 300 1: 200',
    'I 300 1: 302',
    'I 300 1: 303',
  ]);
  expect(other.requests).toEqual([]);
});

test('no more requests are under way than the subscription allows', async () => {
  const { sql, receiver } = await startItems({ subscription: { max_in_flight: 3 } });
  let underWay = 0;
  let most = 0;
  receiver.reply(async () => {
    most = Math.max(most, ++underWay);
    await nextTurn();
    underWay--;
    return {};
  });
  await sql`insert into item select generate_series(1, 200)`;
  await confirmed(sql);
  expect(most).toBe(3);
});

test('what waits goes to the new URL when the subscription is corrected', async () => {
  const { sql, receiver: wrong, other: right } = await startItems();
  wrong.reply({ status: 404 });
  await sql`insert into item (id) values (1), (2)`;
  await sql`update item set version = 2`;
  await wrong.waitFor(4);
  await sql`update pgstream.webhook_subscriptions set url = ${right.url}`;
  await confirmed(sql);
  expect(wrong.requests.map(tell)).not.toContain('U 1 2');
  expect(right.requests.map(tell).sort()).toEqual(['I 1 1', 'I 2 1', 'U 1 2', 'U 2 2']);
});

test('a subscription that is deleted holds the slot no longer, even where memory was full', async () => {
  const { sql, receiver } = await startItems({
    env: { PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES: '1MB' },
  });
  receiver.reply({ status: 500 });
  await sql`insert into item (id, note) select n, repeat('x', 100000) from generate_series(1, 300) n`;
  await receiver.waitFor(5);
  await sql`delete from pgstream.webhook_subscriptions`;
  await confirmed(sql);
  const count = receiver.requests.length;
  await sql`insert into item (id) values (0)`;
  await confirmed(sql);
  expect(receiver.requests).toHaveLength(count);
});

test('a change of key waits for both of its rows, and a truncate for all of its table', async () => {
  const { sql, receiver } = await startItems();
  const log: string[] = [];
  receiver.reply(async (request) => {
    log.push(`${tell(request)} begins`);
    await nextTurn();
    log.push(`${tell(request)} ends`);
    return {};
  });
  await sql`insert into item values (1, 1), (2, 1), (3, 1)`;
  await sql`delete from item where id = 2`;
  await sql`update item set id = 2, version = 2 where id = 1`;
  await sql`insert into item values (1, 3)`;
  await sql`update item set version = 3 where id = 2`;
  await sql`truncate item`;
  await sql`insert into item values (1, 4), (2, 4), (4, 4)`;
  await confirmed(sql);
  const expectOrder = (...events: string[]) => {
    const places = events.flatMap((event) => [`${event} begins`, `${event} ends`]);
    expect(log.filter((line) => places.includes(line))).toEqual(places);
  };
  for (const before of ['I 1 1', 'D 2']) {
    for (const after of ['I 1 3', 'U 2 3']) expectOrder(before, 'U 2 2', after);
  }
  for (const before of ['I 3 1', 'I 1 3', 'U 2 3']) {
    for (const after of ['I 1 4', 'I 2 4', 'I 4 4']) expectOrder(before, 'T', after);
  }
});

test('changes of a row stay in order when the columns that identify it are changed in between', async () => {
  const { sql, receiver } = await startItems();
  receiver.reply({ status: 500 });
  await sql`insert into item values (1, 1, 'one')`;
  await sql`update item set version = 2`;
  await receiver.waitFor(1);
  await sql`alter table item alter note set not null, add constraint by_note unique (note)`;
  await sql`alter table item replica identity using index by_note`;
  await sql`update item set version = 3`;
  await receiver.waitFor(3, patience);
  receiver.reply({});
  await receiver.waitUntil((all) => all.some((request) => tell(request) === 'U 1 3'), patience);
  const firsts = new Set(receiver.requests.map(tell));
  expect([...firsts]).toEqual(['I 1 1', 'U 1 2', 'U 1 3']);
});
