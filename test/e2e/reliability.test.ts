/** What must hold whatever happens to slots, servers and endpoints: see docs/reliability.md. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/embedded/start.js';
import { createDatabase } from '../helpers/database.js';
import {
  arrivals,
  confirmed,
  drained,
  idOf,
  patience,
  startItems,
  stored,
  tell,
} from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner, type Runner } from '../helpers/runner.js';

const run = promisify(execFile);

interface Event {
  action: string;
  schema: string;
  table: string;
  columns: { name: string; type: string; value: unknown }[] | null;
}

const parse = ({ body }: { body: string }) => (JSON.parse(body) as { Data: Event }).Data;

/** A table `item`, in a database of its own or in that of the url, and a way to run pgstream there. */
async function setUp(ownUrl?: string) {
  const url = ownUrl ?? (await createTestDatabase());
  const sql = postgres(url, { max: 2, onnotice: () => undefined, fetch_types: false });
  onTestFinished(() => sql.end({ timeout: 0 }));
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  await sql`create table item (id integer primary key, version integer default 1)`;
  const launch = (...args: string[]) => {
    const runner = startRunner([...args, '--pgurl', url], {
      env: { PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0' },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    return runner;
  };
  const init = async () => {
    const runner = launch('init');
    const { code } = await runner.exited;
    return { code, said: runner.stderr };
  };
  const runner = launch('run', '--init');
  await runner.waitForLog(/"streaming"/);
  const subscribe = (given: Record<string, string> = { table_name: 'item' }) => sql`
    insert into pgstream.webhook_subscriptions ${sql({ url: receiver.url, ...given })}`;
  const status = async () => {
    const [row] = await sql<{ state: string; problem: string | null }[]>`
      select state, problem from pgstream.replication_status`;
    return row;
  };
  return { url, sql, receiver, runner, launch, init, subscribe, status };
}

type World = Awaited<ReturnType<typeof setUp>>;

async function createTestDatabase(): Promise<string> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return database.url;
}

/** What the runner's own server says of its readiness. */
async function readiness({ stderr }: Runner) {
  const [, url] = /"url":"(http:[^"]+)"/.exec(stderr)!;
  const response = await fetch(`${url}/ready`);
  return { code: response.status, ...((await response.json()) as object) };
}

const dropSlot = ({ sql }: World) =>
  eventually(async () => {
    // Whoever reads it comes back at once.
    await sql`
      select pg_terminate_backend(active_pid) from pg_replication_slots
      where database = current_database() and active`;
    await sql`
      select pg_drop_replication_slot(slot_name) from pg_replication_slots
      where database = current_database()`;
  }, patience);

const insert = ({ sql }: World, id: number) => sql`insert into item (id) values (${id})`;

/** The runner has stopped to read, and says so wherever somebody may look. */
async function expectHalted(world: World, message: RegExp, state: string) {
  const { runner, status } = world;
  await runner.waitForLog(message);
  expect(await readiness(runner)).toEqual({
    code: 503,
    state: 'halted',
    problem: expect.stringContaining('pgstream init'),
  });
  await eventually(async () => {
    expect(await status()).toEqual({ state, problem: expect.stringContaining('pgstream init') });
  });
}

/** The next runner, or this one, reads on from where the slot is now. */
async function expectGoingOn({ sql, receiver, launch }: World, id: number, halted?: Runner) {
  const next = halted ?? launch('run');
  await next.waitForLog(halted ? /going on[^]*"streaming"/ : /"streaming"/);
  await sql`insert into item (id) values (${id})`;
  await receiver.waitUntil(() => arrivals(receiver).includes(`I ${id} 1`), patience);
  await confirmed(sql);
  expect(await readiness(next)).toMatchObject({ code: 200, state: 'streaming' });
  expect(await next.kill('SIGTERM')).toEqual({ code: 0, signal: null });
}

test('a slot that is dropped while it is read is not made anew before somebody asks for it', async () => {
  const world = await setUp();
  const { sql, receiver, runner, init, subscribe } = world;
  await subscribe();
  await insert(world, 1);
  await receiver.waitFor(1);
  await confirmed(sql);
  await dropSlot(world);
  await insert(world, 2);
  await expectHalted(world, /halted: replication slot/, 'missing');
  expect(
    await sql`select from pg_replication_slots where database = current_database()`,
  ).toHaveLength(0);

  expect(await init()).toEqual({ code: 0, said: expect.stringMatching(/WARNING.*not delivered/) });
  await expectGoingOn(world, 3, runner);
  expect(arrivals(receiver)).toEqual(['I 1 1', 'I 3 1']);
});

test('a publication that is dropped stops the runner, until there is a slot that can read the next one', async () => {
  const world = await setUp();
  const { sql, receiver, runner, init, subscribe } = world;
  await subscribe();
  await insert(world, 1);
  await receiver.waitFor(1);
  await sql`drop publication pgstream_insert`;
  await expectHalted(world, /halted: .*publication/, 'halted');
  expect(await runner.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  expect(await init()).toMatchObject({ code: 1, said: expect.stringContaining('older than') });
  await dropSlot(world);
  expect(await init()).toMatchObject({ code: 0 });
  await expectGoingOn(world, 2);
});

test('a slot whose log the server has removed is read no more, and not made anew before somebody asks for it', async () => {
  const server = await startPostgres({
    settings: { max_slot_wal_keep_size: '1MB', min_wal_size: '32MB', max_wal_size: '32MB' },
  });
  onTestFinished(() => server.stop('immediate'));
  const world = await setUp(server.url);
  const { sql, receiver, runner, launch, init, subscribe } = world;
  await subscribe();
  await insert(world, 1);
  await receiver.waitFor(1);
  await confirmed(sql);
  process.kill(runner.pid, 'SIGSTOP');
  const lost = () => sql`select from pg_replication_slots where wal_status = 'lost'`;
  await eventually(async () => {
    await sql`select pg_logical_emit_message(true, 'test', '')`;
    await sql`select pg_switch_wal()`;
    await sql`checkpoint`;
    return (await lost()).length;
  }, patience);
  await insert(world, 2);
  process.kill(runner.pid, 'SIGCONT');
  await expectHalted(world, /halted: replication slot/, 'lost');
  await runner.kill();
  for (const args of [['run'], ['run', '--init'], ['init']]) {
    const refused = launch(...args);
    expect(await refused.exited).toEqual({ code: 1, signal: null });
    expect(refused.stderr).toMatch(/invalidated[^]*HINT.*pgstream init/);
  }
  expect(await lost()).toHaveLength(1);

  await dropSlot(world);
  expect(await init()).toEqual({ code: 0, said: expect.stringContaining('not delivered') });
  await expectGoingOn(world, 3);
  expect(arrivals(receiver)).toEqual(['I 1 1', 'I 3 1']);
});

/** A server of its own that has delivered a row, a copy of it as it is then, and more rows since. */
async function setUpWithBackup() {
  const server = await startPostgres();
  onTestFinished(() => server.stop('immediate'));
  const world = await setUp(server.url);
  const { sql, receiver, subscribe } = world;
  await subscribe();
  await insert(world, 1);
  await receiver.waitFor(1);
  await confirmed(sql);
  const backup = `${server.dataDir}.backup`;
  await server.crash();
  await run('cp', ['-a', server.dataDir, backup]);
  await server.restart();
  await eventually(() => insert(world, 2).then(() => true), patience);
  await sql`insert into item select generate_series(1001, 3000)`;
  await receiver.waitFor(2_002, patience);
  await confirmed(sql);

  /** The server as it was, in a timeline of its own, with other rows than had come here. */
  const restore = async () => {
    await server.crash();
    await rm(server.dataDir, { recursive: true });
    await run('mv', [backup, server.dataDir]);
    await writeFile(path.join(server.dataDir, 'standby.signal'), '');
    await server.restart();
    await eventually(async () => (await sql`select pg_promote()`).length, patience);
    await sql`insert into item select generate_series(3, 12)`;
  };
  return { world, restore };
}

test('a server that is restored to an earlier time while nobody reads it has its rows delivered, and no id stands for two events', async () => {
  const { world, restore } = await setUpWithBackup();
  const { receiver, runner } = world;
  expect(await runner.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  await restore();
  await expectGoingOn(world, 13);
  const rows = Array.from({ length: 13 }, (_, i) => `I ${i + 1} 1`);
  expect(arrivals(receiver)).toEqual(expect.arrayContaining(rows));
  const bodies = new Map<string, string>();
  for (const request of receiver.requests) {
    expect(request.body).toBe(bodies.get(idOf(request)) ?? request.body);
    bodies.set(idOf(request), request.body);
  }
});

test('a runner that comes back to a server that was restored to an earlier time stops, and says so', async () => {
  const { world, restore } = await setUpWithBackup();
  const { runner } = world;
  process.kill(runner.pid, 'SIGSTOP');
  await restore();
  process.kill(runner.pid, 'SIGCONT');
  await expectHalted(world, /halted: .*restored/, 'halted');
  expect(await runner.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  expect(await world.init()).toMatchObject({ code: 0 });
  await expectGoingOn(world, 13);
  const rows = Array.from({ length: 10 }, (_, i) => `I ${i + 3} 1`);
  expect(arrivals(world.receiver)).toEqual(expect.arrayContaining(rows));
});

test('only a status of 2xx counts as accepted: any other one is put on record, and the event comes again', async () => {
  const { sql, receiver, other, id } = await startItems({ subscription: { retry_for: '0' } });
  const fine = [200, 201, 202, 204, 299];
  const redirects = [300, 301, 302, 303, 304, 307, 308];
  const refusals = [400, 401, 403, 404, 408, 409, 413, 418, 422, 425, 429, 499];
  const failures = [500, 501, 502, 503, 504, 511, 599];
  const others = [...redirects, ...refusals, ...failures];
  const headers = { location: other.url };
  receiver.reply((request) => ({ status: Number(tell(request)[0]!.split(' ')[1]), headers }));
  for (const status of [...fine, ...others]) {
    await sql`insert into item values (${status})`;
    // The endpoint is not left alone, however often it fails.
    await eventually(async () => {
      await sql`select pgstream.replay(${id}, state => 'pending')`;
      const requests = receiver.requests.map((request) => tell(request)[0]);
      return requests.includes(`I ${status} 1`);
    }, patience);
  }
  const dead = () => sql<{ webhook_id: string; last_status: number }[]>`
    select webhook_id, last_status from pgstream.webhook_deliveries
    where state = 'dead' order by last_status`;
  await eventually(async () => expect(await dead()).toHaveLength(others.length), patience);
  expect((await dead()).map(({ last_status: status }) => status)).toEqual(others);
  expect(receiver.requests).toHaveLength(fine.length + others.length);
  expect(other.requests).toEqual([]);

  const firsts = new Map(receiver.requests.map((request) => [idOf(request), request.body]));
  receiver.requests.splice(0);
  receiver.reply({});
  await sql`select pgstream.replay(${id})`;
  await drained(sql);
  expect(arrivals(receiver).sort()).toEqual(others.map((status) => `I ${status} 1`));
  for (const request of receiver.requests) expect(request.body).toBe(firsts.get(idOf(request)));
});

test('names of any kind select exactly their table, and arrive as they are', async () => {
  const world = await setUp();
  const { sql, receiver, subscribe } = world;
  const names = [
    `a"b`,
    `a'b`,
    'a;--b',
    '$$;drop table item;$$',
    'a\nb\tc',
    'back\\slash',
    'Größe 😀',
    'UPPER',
    'select',
    'null',
    '1',
    ' ',
    'é'.repeat(31),
    '__proto__',
    '%s %I ${x}',
  ];
  for (const name of names) {
    const [schema, table] = [sql(`s ${name}`.slice(0, 31)), sql(name)];
    await sql`create schema ${schema}`;
    await sql`create table ${schema}.${table} (${sql(name)} integer primary key, other text)`;
    await subscribe({ schema_name: `s ${name}`.slice(0, 31), table_name: name });
  }
  for (const name of names) {
    const [schema, table] = [sql(`s ${name}`.slice(0, 31)), sql(name)];
    await sql`insert into ${schema}.${table} values (1, ${name})`;
    await sql`update ${schema}.${table} set other = null`;
    await sql`delete from ${schema}.${table}`;
  }
  await insert(world, 1);
  await confirmed(sql);
  await eventually(async () => (await stored(sql)) === 0, patience);
  const told = receiver.requests.map(parse);
  for (const name of names) {
    const mine = told.filter(({ table }) => table === name);
    expect(mine.map(({ action }) => action)).toEqual(['I', 'U', 'D']);
    expect(new Set(mine.map(({ schema }) => schema))).toEqual(new Set([`s ${name}`.slice(0, 31)]));
    expect(mine[0]!.columns).toMatchObject([{ name }, { value: name }]);
  }
  expect(told).toHaveLength(names.length * 3);
});

test('each event has the columns and types of its moment, however the table was changed before it was read', async () => {
  const world = await setUp();
  const { sql, url, receiver, runner, launch, subscribe } = world;
  await subscribe({ schema_name: 'public' });
  await confirmed(sql);
  await runner.kill('SIGTERM');
  const writer = postgres(url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => writer.end({ timeout: 0 }));
  await writer.unsafe('insert into item values (1)');
  await writer.unsafe('alter table item add column price numeric(8,2) default 1.50');
  await writer.unsafe('insert into item values (2)');
  await writer.begin(async (tx) => {
    await tx.unsafe('insert into item values (3)');
    await tx.unsafe('alter table item rename column price to cost');
    await tx.unsafe('insert into item values (4)');
    await tx.unsafe('alter table item alter version type text, alter cost type varchar(9)');
    await tx.unsafe('insert into item values (5)');
    await tx.unsafe('alter table item drop column version');
    await tx.unsafe('insert into item values (6)');
  });
  await writer.unsafe('alter table item rename to thing');
  await writer.unsafe('insert into thing values (7)');
  await writer.unsafe('create schema elsewhere; alter table thing set schema elsewhere');
  await writer.unsafe('alter table elsewhere.thing set schema public');
  await writer.unsafe('insert into thing values (8)');
  await writer.unsafe('drop table thing');
  await writer.unsafe('create table item (id bigint primary key)');
  await writer.unsafe('insert into item values (9)');
  await writer.unsafe('drop table item');
  await launch('run').waitForLog(/"streaming"/);
  await confirmed(sql);
  await eventually(async () => (await stored(sql)) === 0, patience);
  const told = receiver.requests
    .map(parse)
    .filter(({ action }) => action === 'I')
    .map(({ table, columns }) => {
      const types = columns!.map(({ name, type }) => `${name} ${type}`);
      return `${String(columns![0]!.value)}: ${table} (${types.join(', ')})`;
    });
  expect(told.sort()).toEqual([
    '1: item (id integer, version integer)',
    '2: item (id integer, version integer, price numeric(8,2))',
    '3: item (id integer, version integer, price numeric(8,2))',
    '4: item (id integer, version integer, cost numeric(8,2))',
    '5: item (id integer, version text, cost character varying(9))',
    '6: item (id integer, cost character varying(9))',
    '7: thing (id integer, cost character varying(9))',
    '8: thing (id integer, cost character varying(9))',
    '9: item (id bigint)',
  ]);
});

test('a truncate of several tables is an event of each, also of an empty one, and the stream goes on', async () => {
  const world = await setUp();
  const { sql, receiver, subscribe } = world;
  await sql.unsafe(`
    create table parent (id integer generated always as identity primary key);
    create table child (id integer primary key, parent integer references parent);
    create table empty (id integer primary key);`);
  await subscribe({ schema_name: 'public' });
  await sql`insert into parent default values`;
  await sql`insert into child values (1, 1)`;
  await sql`truncate parent, empty restart identity cascade`;
  await sql`truncate parent, empty restart identity cascade`;
  await insert(world, 1);
  await confirmed(sql);
  await eventually(async () => (await stored(sql)) === 0, patience);
  const told = receiver.requests.map(parse).map(({ action, table }) => `${action} ${table}`);
  expect(told.slice().sort()).toEqual(
    ['I child', 'I item', 'I parent', ...['child', 'empty', 'parent'].flatMap(twice)].sort(),
  );
  for (const table of ['parent', 'child']) {
    expect(told.indexOf(`I ${table}`)).toBeLessThan(told.indexOf(`T ${table}`));
  }
});

const twice = (table: string) => [`T ${table}`, `T ${table}`];

test('messages that anybody can put into the log have no effect', async () => {
  const world = await setUp();
  const { sql, receiver, subscribe } = world;
  await subscribe({ schema_name: 'public' });
  const role = sql(`role_of_${randomBytes(6).toString('hex')}`);
  await sql`create role ${role}`;
  onTestFinished(() => sql`drop role ${role}`.then());
  await sql.begin(async (tx) => {
    await tx`set local role ${role}`;
    for (const prefix of ['pgstream', 'pgstream.subscription_changes', '']) {
      for (const content of ['', '{"id":1,"url":"http://127.0.0.1:1/"}']) {
        await tx`select pg_logical_emit_message(true, ${prefix}, ${content}::text)`;
        await tx`select pg_logical_emit_message(false, ${prefix}, ${content}::text)`;
      }
    }
  });
  await insert(world, 1);
  await confirmed(sql);
  expect(arrivals(receiver)).toEqual(['I 1 1']);
});

test('more than a thousand subscriptions to one table are all served', async () => {
  const world = await setUp();
  const { sql, receiver } = world;
  await sql`
    insert into pgstream.webhook_subscriptions (url, table_name)
    select ${receiver.url} || '/' || n, 'item' from generate_series(1, 1200) n`;
  await insert(world, 1);
  await receiver.waitFor(1200, patience);
  await drained(sql);
  expect(new Set(receiver.requests.map(({ path: each }) => each)).size).toBe(1200);
  expect(new Set(receiver.requests.map(idOf)).size).toBe(1200);
});

test('a partition that is attached and detached carries the name that it has at that time', async () => {
  const world = await setUp();
  const { sql, receiver, subscribe } = world;
  await sql.unsafe(`
    create table part (id integer primary key) partition by range (id);
    create table part_rest partition of part default;
    create table alone (id integer primary key);`);
  await subscribe({ schema_name: 'public' });
  await sql`insert into alone values (1)`;
  await sql`alter table part attach partition alone for values from (0) to (100)`;
  await sql`insert into part values (2)`;
  await sql`insert into alone values (3)`;
  await sql`insert into part values (100)`;
  await sql`update part set id = 4 where id = 100`;
  await sql`alter table part detach partition alone`;
  await sql`insert into alone values (5)`;
  await sql`insert into part values (6)`;
  await confirmed(sql);
  await eventually(async () => (await stored(sql)) === 0, patience);
  const told = receiver.requests
    .filter(({ body }) => parse({ body }).schema === 'public')
    .map((request) => `${parse(request).table} ${tell(request)[0]}`);
  expect(told.sort()).toEqual([
    'alone I 1',
    'alone I 5',
    'part D 100',
    'part I 100',
    'part I 2',
    'part I 3',
    'part I 4',
    'part I 6',
  ]);
});
