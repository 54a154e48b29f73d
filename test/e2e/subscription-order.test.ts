import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';
import { patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver, type Receiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';

/** A table `item`, an endpoint whose paths are subscribers, and a way to run pgstream. */
async function setUp() {
  const database = await createDatabase();
  const receiver = await startReceiver();
  onTestFinished(async () => {
    await receiver.close();
    await database.drop();
  });
  const { sql, url } = database;
  await sql`create table item (id integer primary key, version integer not null default 1)`;
  const launch = (...args: string[]) => {
    const runner = startRunner(args, {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      },
    });
    onTestFailed(() => console.error(runner.stderr));
    return runner;
  };
  const start = async () => {
    const runner = launch('run', '--init');
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  /** A connection of its own, for a transaction that stays open. */
  const session = () => {
    const other = postgres(url, { max: 1, onnotice: () => undefined });
    onTestFinished(() => other.end({ timeout: 0 }));
    return other;
  };
  const subscribe = (name: string, table = 'item', by: postgres.ISql = sql) => by`
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
    values (${`${receiver.url}/${name}`}, 'public', ${table})`;
  const unsubscribe = (name: string, by: postgres.ISql = sql) => by`
    delete from pgstream.webhook_subscriptions where url = ${`${receiver.url}/${name}`}`;
  return { sql, receiver, launch, start, session, subscribe, unsubscribe };
}

type World = Awaited<ReturnType<typeof setUp>>;

function tell({ body }: Receiver['requests'][number]): string {
  type Values = { value: number }[] | null;
  const { Data } = JSON.parse(body) as { Data: Record<'columns' | 'identity', Values> };
  const { action, columns, identity } = { action: '', ...Data };
  return `${action} ${(columns ?? identity)?.[0]?.value}`;
}

/** What a subscriber has got once all that is committed is confirmed; a repeat counts once. */
async function got({ sql, receiver }: World, name: string): Promise<string[]> {
  const [now] = await sql<{ lsn: string }[]>`select pg_current_wal_insert_lsn() as lsn`;
  await eventually(async () => {
    const slots = await sql`
      select from pg_replication_slots
      where database = current_database() and confirmed_flush_lsn >= ${now!.lsn}::pg_lsn`;
    return slots.length;
  }, patience);
  const own = receiver.requests.filter(({ path }) => path === `/${name}`);
  return [...new Map(own.map((each) => [each.headers['webhook-id'], tell(each)])).values()].sort();
}

const insert = ({ sql }: World, id: number) => sql`insert into item (id) values (${id})`;

test('a subscription gets the very next commit and none before, and its deletion acts the same way', async () => {
  const world = await setUp();
  await world.start();
  await world.subscribe('always');
  for (let n = 10; n < 30; n++) {
    await insert(world, n * 10);
    await world.subscribe(`from-${n}`);
    await insert(world, n * 10 + 1);
    await world.unsubscribe(`from-${n}`);
    await insert(world, n * 10 + 2);
  }
  expect(await got(world, 'always')).toHaveLength(60);
  for (let n = 10; n < 30; n++) expect(await got(world, `from-${n}`)).toEqual([`I ${n * 10 + 1}`]);
});

test('a change of a subscription acts behind its own transaction, and not when that is rolled back', async () => {
  const world = await setUp();
  const { sql, subscribe, unsubscribe } = world;
  await world.start();
  await subscribe('always');
  await sql.begin(async (transaction) => {
    await transaction`insert into item (id) values (1)`;
    await subscribe('new', 'item', transaction);
    await transaction`insert into item (id) values (2)`;
  });
  await insert(world, 3);
  await sql.begin(async (transaction) => {
    await transaction`update pgstream.webhook_subscriptions set event_types = '{U}'
      where url like '%/new'`;
    await transaction`insert into item (id) values (4)`;
  });
  await insert(world, 5);
  await sql`update item set version = 2 where id = 5`;
  const undone = sql.begin(async (transaction) => {
    await subscribe('never', 'item', transaction);
    await unsubscribe('new', transaction);
    throw new Error('undone');
  });
  await expect(undone).rejects.toThrow('undone');
  await sql`update item set version = 2 where id = 1`;
  expect(await got(world, 'new')).toEqual(['I 3', 'I 4', 'U 1', 'U 5']);
  expect(await got(world, 'never')).toEqual([]);
  expect(await got(world, 'always')).toHaveLength(7);
});

test('each subscription gets exactly its events when the slot goes back behind the changes of them', async () => {
  const world = await setUp();
  const { sql, receiver, subscribe, unsubscribe, start } = world;
  let runner = await start();
  receiver.reply(({ path }) => ({ status: path === '/down' ? 500 : 200 }));
  await subscribe('down');
  await insert(world, 1);
  await subscribe('short');
  await subscribe('picky');
  await insert(world, 2);
  await unsubscribe('short');
  await sql`update pgstream.webhook_subscriptions set event_types = '{D}' where url like '%/picky'`;
  await insert(world, 3);
  await subscribe('late');
  await insert(world, 4);
  await receiver.waitUntil((all) => all.some(({ path }) => path === '/late'));

  for (let round = 0; round < 2; round++) {
    await runner.kill();
    const before = receiver.requests.length;
    runner = await start();
    await receiver.waitUntil((all) => all.slice(before).some(({ path }) => path === '/late'));
  }
  await subscribe('last');
  await sql`delete from item where id = 2`;
  receiver.reply({});
  expect(await got(world, 'down')).toEqual(['D 2', 'I 1', 'I 2', 'I 3', 'I 4']);
  expect(await got(world, 'short')).toEqual(['I 2']);
  expect(await got(world, 'picky')).toEqual(['D 2', 'I 2']);
  expect(await got(world, 'late')).toEqual(['D 2', 'I 4']);
  expect(await got(world, 'last')).toEqual(['D 2']);
});

test('a subscription that is older than the slot works from the slot on', async () => {
  const world = await setUp();
  await world.subscribe('old');
  await world.subscribe('gone');
  await world.unsubscribe('gone');
  await insert(world, 1);
  const runner = await world.start();
  await insert(world, 2);
  expect(await got(world, 'old')).toEqual(['I 2']);
  await runner.kill();
  await insert(world, 3);
  await world.start();
  expect(await got(world, 'old')).toEqual(['I 2', 'I 3']);
  expect(await got(world, 'gone')).toEqual([]);
});

test('a subscription of a transaction that was open while the slot was made works', async () => {
  const world = await setUp();
  const { sql, session, subscribe, launch } = world;
  const open = session();
  await open`begin`;
  await subscribe('open', 'item', open);
  const init = launch('init', '--slot-only');
  await eventually(async () => {
    const slots = await sql`
      select from pg_replication_slots
      where database = current_database() and confirmed_flush_lsn is null`;
    return slots.length;
  }, patience);
  await open`commit`;
  expect(await init.exited).toEqual({ code: 0, signal: null });
  await launch('run').waitForLog(/"streaming"/);
  await insert(world, 1);
  expect(await got(world, 'open')).toEqual(['I 1']);
});

test('a subscription that is made while the last other one of its table is deleted gets its events', async () => {
  const world = await setUp();
  await world.start();
  await world.subscribe('old');
  const open = world.session();
  await open`begin`;
  await world.subscribe('new', 'item', open);
  await world.unsubscribe('old');
  await open`commit`;
  await insert(world, 1);
  expect(await got(world, 'new')).toEqual(['I 1']);
});

test('a subscription is refused while a table is being made, and then made up for', async () => {
  const world = await setUp();
  const { sql, session, subscribe } = world;
  await world.start();
  const table = session();
  await table`begin`;
  await table`create table early (id integer primary key)`;
  await expect(subscribe('early', 'early')).rejects.toMatchObject({ code: '55P03' });
  await table`commit`;
  await subscribe('early', 'early');
  await sql`insert into early values (1)`;
  expect(await got(world, 'early')).toEqual(['I 1']);
});

test('a table that is made while a subscription is being made is published when that is done', async () => {
  const world = await setUp();
  const { sql, session, subscribe } = world;
  await world.start();
  const subscription = session();
  await subscription`begin`;
  await subscribe('late', 'late', subscription);
  await sql`create table late (id integer primary key)`;
  expect(await sql`select from pgstream.ddl_error`).toHaveLength(1);
  await subscription`commit`;
  await eventually(async () => {
    const left = await sql`select from pgstream.ddl_error where reconciled_at is null`;
    return left.length === 0;
  }, patience);
  await sql`insert into late values (1)`;
  expect(await got(world, 'late')).toEqual(['I 1']);
});

test('a subscription of a transaction that cannot see the present is refused, or gets its events', async () => {
  const world = await setUp();
  await world.start();
  await world.subscribe('old');
  const open = world.session();
  await open`begin isolation level repeatable read`;
  await open`select from item`;
  await world.unsubscribe('old');
  const made = await world.subscribe('new', 'item', open).then(
    () => true,
    () => false,
  );
  await open`commit`;
  await insert(world, 1);
  expect(await got(world, 'new')).toEqual(made ? ['I 1'] : []);
});
