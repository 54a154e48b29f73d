/**
 * The metadata of an event, and the names of its types, are those of the schema version that held at
 * its place in the log: also when it is read again after the schema has changed.
 */
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';
import { accepted, confirmed, idOf, patience, type Request } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { expectLogInStep } from '../helpers/schema-log.js';

interface Event {
  schema: string;
  table: string;
  columns: { id: string; name: string; type: string; value: unknown }[];
  metadata: {
    schema_id: string | null;
    table_pgstream_id: string;
    id_col_pgstream_id: string[] | null;
  };
}

/** A table of orders, a runner, and an endpoint whose path /all gets every event. */
async function setUp({ injectsAll }: { injectsAll: boolean }) {
  const database = await createDatabase();
  const receiver = await startReceiver();
  onTestFinished(async () => {
    await receiver.close();
    await database.drop();
  });
  const { sql, url } = database;
  await sql.unsafe(`
    create type mood as enum ('ok');
    create domain cents as integer;
    create table orders (id integer primary key, mood mood default 'ok', moods mood[],
      price cents, amount numeric(10,2) default 1.5)`);
  const start = async () => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        ...(injectsAll && { PGSTREAM_INJECTOR_STORE_POSTGRES_URL: url }),
      },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  const subscribe = (path: string, more = {}) => sql`
    insert into pgstream.webhook_subscriptions ${sql({
      url: `${receiver.url}/${path}`,
      inject_metadata: !injectsAll,
      ...more,
    })}`;
  /** What /all has got since the request of this number, once the row of this id is there. */
  const got = async (id: number, since = 0) => {
    const own = () =>
      accepted(receiver)
        .filter(({ path }) => path === '/all')
        .slice(since);
    await receiver.waitUntil(() => own().some((each) => rowOf(each) === id), patience);
    return own();
  };
  return { sql, receiver, start, subscribe, got };
}

type World = Awaited<ReturnType<typeof setUp>>;

const eventOf = ({ body }: Request) => (JSON.parse(body) as { Data: Event }).Data;
const rowOf = (request: Request) => {
  const { schema, columns } = eventOf(request);
  return schema === 'pgstream' ? undefined : columns.find(({ name }) => name === 'id')?.value;
};
const tellColumns = ({ columns }: Event) => columns.map(({ name, type }) => `${name} ${type}`);

/** The first arrival of each event, by its id; the same id has to bring the same bytes. */
function byId(requests: Request[]): Map<string, string> {
  const bodies = new Map<string, string>();
  for (const request of requests) {
    const first = bodies.get(idOf(request));
    if (first !== undefined) expect(request.body).toBe(first);
    bodies.set(idOf(request), request.body);
  }
  return bodies;
}

/** What the schema log says of the column of an event, by the version that the event names. */
async function expectIdsOfVersion({ sql }: World, event: Event): Promise<void> {
  const { schema_id: id, table_pgstream_id: table } = event.metadata;
  const logged = await sql<{ name: string; id: string }[]>`
    select c ->> 'name' as name, c ->> 'pgstream_id' as id
    from pgstream.schema_log l,
      jsonb_array_elements(pgstream.schema_at(l.schema_name, l.version) -> 'tables') t,
      jsonb_array_elements(t -> 'columns') c
    where l.id = ${id!} and l.schema_name = ${event.schema} and t ->> 'name' = ${event.table}
      and t ->> 'pgstream_id' = ${table}`;
  expect(event.columns.map(({ name, id }) => ({ name, id }))).toEqual([...logged]);
}

const steps: [ddl: string, table: string, columns: string[]][] = [
  [
    '',
    'orders',
    ['id integer', 'mood mood', 'moods mood[]', 'price cents', 'amount numeric(10,2)'],
  ],
  ['alter table orders add note varchar(9)', 'orders', ['note character varying(9)']],
  ['alter table orders rename note to remark', 'orders', ['remark character varying(9)']],
  ['alter table orders drop amount', 'orders', []],
  ['alter type mood rename to feeling', 'orders', ['mood feeling', 'moods feeling[]']],
  ['alter domain cents rename to pence', 'orders', ['price pence']],
  ['alter table orders rename to purchases', 'purchases', []],
  ['create schema app; alter table purchases set schema app', 'app.purchases', []],
  ['alter type feeling set schema app', 'app.purchases', ['mood app.feeling']],
  ['alter schema app rename to shop', 'shop.purchases', ['moods shop.feeling[]']],
];

test.each([
  ['every event', true],
  ['the events of a subscription', false],
])('metadata of %s stays what it was, however often the slot is read again', async (_, all) => {
  const world = await setUp({ injectsAll: all });
  const { sql, receiver, start, subscribe, got } = world;
  let runner = await start();
  receiver.reply(({ path }) => (path === '/hangs' ? { fault: 'hang' } : {}));
  await subscribe('all');
  await subscribe('hangs', { timeout: '1 hour' });
  const logged: string[] = [];
  for (const [i, [ddl, table]] of steps.entries()) {
    await sql.unsafe(ddl);
    await sql.unsafe(`insert into ${table} (id) values (${i})`);
    const [last] = await sql<{ id: string }[]>`
      select id from pgstream.schema_log where schema_name = ${table.split('.')[1] ? table.split('.')[0]! : 'public'}
      order by version desc limit 1`;
    logged.push(last!.id);
  }
  await sql.unsafe(`insert into shop.purchases (id) values (100);
    alter table shop.purchases add more integer;
    insert into shop.purchases (id) values (101)`);

  const first = await got(101);
  const events = first.filter((each) => rowOf(each) !== undefined).map(eventOf);
  expect(events).toHaveLength(steps.length + 2);
  for (const [i, [, table, columns]] of steps.entries()) {
    const event = events[i]!;
    expect([event.schema, event.table]).toEqual(`public.${table}`.split('.').slice(-2));
    expect(tellColumns(event)).toEqual(expect.arrayContaining(columns));
    expect(event.metadata.schema_id).toBe(logged[i]);
  }
  for (const event of events) await expectIdsOfVersion(world, event);
  expect(new Set(events.map(({ metadata }) => metadata.table_pgstream_id)).size).toBe(1);
  expect(new Set(events.map(({ metadata }) => String(metadata.id_col_pgstream_id))).size).toBe(1);

  let arrived = first.length;
  for (const ddl of [
    'alter table shop.purchases rename to old; alter table shop.old drop mood, drop moods',
    'drop type shop.feeling; alter domain pence rename to pennies',
    'drop table shop.old; drop domain pennies; drop schema shop',
  ]) {
    await runner.kill();
    await sql.unsafe(ddl);
    runner = await start();
    const again = await got(101, arrived);
    arrived += again.length;
    const [before, now] = [byId(first), byId(again)];
    for (const [id, body] of before) expect(now.get(id)).toBe(body);
  }
});

test('what was not logged holds from the version on that covers it, also when it is read again', async () => {
  const world = await setUp({ injectsAll: true });
  const { sql, receiver, start, subscribe, got } = world;
  const runner = await start();
  receiver.reply(({ path }) => (path === '/hangs' ? { fault: 'hang' } : {}));
  await subscribe('all');
  await subscribe('hangs', { timeout: '1 hour' });
  await sql.begin(async (transaction) => {
    await transaction.unsafe(`set local pgstream.skip_log = on;
      alter table orders rename price to cost; alter type mood rename to feeling`);
    await transaction`insert into orders (id) values (1)`;
  });
  const [event] = (await got(1)).filter((each) => rowOf(each) === 1).map(eventOf);
  expect(tellColumns(event!)).toEqual(expect.arrayContaining(['mood mood', 'cost cents']));
  expect(event!.columns.find(({ name }) => name === 'cost')).toMatchObject({ id: '' });

  await eventually(() => expectLogInStep(sql), patience);
  await sql`insert into orders (id) values (2)`;
  const first = await got(2);
  const later = first.filter((each) => rowOf(each) === 2).map(eventOf)[0]!;
  expect(tellColumns(later)).toEqual(expect.arrayContaining(['mood feeling', 'cost cents']));
  await expectIdsOfVersion(world, later);

  await runner.kill();
  await start();
  const again = byId(await got(2, first.length));
  for (const [id, body] of byId(first)) expect(again.get(id)).toBe(body);
});

test('a version is acked when a runner has passed it that fills in metadata, and not before', async () => {
  const world = await setUp({ injectsAll: false });
  const { sql, receiver, start, subscribe } = world;
  const acked = async () => {
    await confirmed(sql);
    const rows = await sql<{ version: number }[]>`
      select version::integer from pgstream.schema_log where acked order by version`;
    return rows.map(({ version }) => version);
  };
  const [older] = await sql<{ version: number }[]>`
    select max(version)::integer as version from pgstream.schema_log`;
  const runner = await start();
  const next = (n: number) => older!.version + n;
  await sql`alter table orders add one integer`;
  expect(await acked()).toEqual([]);
  await subscribe('all', { inject_metadata: true });
  expect(await acked()).toEqual([]);
  await sql`alter table orders add two integer`;
  expect(await acked()).toEqual([next(2)]);
  await runner.kill();
  await sql`alter table orders add three integer`;
  const [row] = await sql`select acked from pgstream.schema_log where version = ${next(3)}`;
  expect(row).toEqual({ acked: false });
  await start();
  expect(await acked()).toEqual([next(2), next(3)]);
  await receiver.waitFor(1, patience);
});

test('versions that are older than the slot hold from its beginning', async () => {
  const world = await setUp({ injectsAll: true });
  const { sql, start, subscribe, got } = world;
  await subscribe('all');
  await sql`alter table orders add one integer`;
  const runner = await start();
  await sql`insert into orders (id) values (1)`;
  await got(1);
  await runner.kill();
  await sql`insert into orders (id) values (2)`;
  await sql`alter table orders add two integer`;
  await sql`insert into orders (id) values (3)`;
  await start();
  const events = (await got(3)).filter((each) => rowOf(each)).map(eventOf);
  for (const event of events) await expectIdsOfVersion(world, event);
  const versions = new Map(events.map(({ columns, metadata }) => [columns[0]!.value, metadata]));
  expect(versions.get(1)).toEqual(versions.get(2));
  expect(versions.get(3)).not.toEqual(versions.get(2));
});

test('versions begin again where somebody has emptied the schema log', async () => {
  const world = await setUp({ injectsAll: true });
  const { sql, start, subscribe, got } = world;
  await subscribe('all');
  const runner = await start();
  await sql`alter table orders add one integer`;
  await sql`alter table orders add two integer`;
  await confirmed(sql);
  await runner.kill();
  await sql`truncate pgstream.schema_log`;
  await sql`select pgstream.refresh_schema('public')`;
  await start();
  await sql`insert into orders (id) values (1)`;
  const event = (await got(1)).map(eventOf).find(({ table }) => table === 'orders')!;
  await expectIdsOfVersion(world, event);
});
