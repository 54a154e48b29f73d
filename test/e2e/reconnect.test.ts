import postgres from 'postgres';
import { afterAll, beforeAll, expect, onTestFailed, onTestFinished, test } from 'vitest';
import { startPostgres, type RunningPostgres } from '../../src/embedded/start.js';
import { patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver, type Receiver } from '../helpers/receiver.js';
import { startRunner, type Runner } from '../helpers/runner.js';
import { databaseUrl } from '../helpers/template.js';

let server: RunningPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop('immediate'));

const rows = 40;
let databases = 0;

/** A database of its own with a table, its subscription and a runner that streams. */
async function setUp() {
  const name = `reconnect_${++databases}`;
  const admin = connect(server.url);
  await admin`create database ${admin(name)}`;
  const url = databaseUrl(server.url, name);
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  const env = { PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0' };
  const start = () => startRunner(['run', '--init', '--pgurl', url], { env });
  const runner = start();
  onTestFailed(() => console.error(runner.stderr));
  await runner.waitForLog(/"streaming"/);
  const sql = connect(url);
  await sql`create table item (id integer primary key, version integer not null)`;
  await subscribe(sql, receiver, 'item');
  await sql`insert into item select n, 0 from generate_series(1, ${rows}::int) n`;
  return { sql, url, slot: `pgstream_${name}_slot`, receiver, runner, start };
}

function connect(url: string) {
  const sql = postgres(url, { max: 4, onnotice: () => undefined, fetch_types: false });
  onTestFinished(() => sql.end({ timeout: 0 }));
  return sql;
}

const subscribe = (sql: postgres.Sql, receiver: Receiver, table: string) => sql`
  insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
  values (${receiver.url}, 'public', ${table})`;

/** Updates rows, several in a transaction, until it is told to stop; a lost connection is no end. */
function load(url: string, { requests }: Receiver) {
  let updates = 0;
  let stopped = false;
  const write = async (sql: postgres.Sql, writer: number) => {
    for (let n = 1; !stopped; n++) {
      await eventually(() => stopped || updates < requests.length + 200, patience);
      const { count } = await sql`
        update item set version = version + 1
        from (select id from item where id % 5 = ${(n + writer) % 5} order by id for update) chosen
        where item.id = chosen.id`.catch(({ severity }: { severity?: string }) => {
        expect(severity).not.toBe('ERROR');
        return { count: 0 };
      });
      updates += count;
    }
  };
  const writing = Array.from({ length: 3 }, (_, i) => write(connect(url), i));
  const stop = async () => {
    stopped = true;
    await Promise.all(writing);
  };
  onTestFinished(stop);
  return stop;
}

const idOf = ({ headers }: Receiver['requests'][number]) => String(headers['webhook-id']);

/** Waits until each version of each row has arrived, and checks that they came in their order. */
async function expectEverything(sql: postgres.Sql, receiver: Receiver) {
  const final = await sql<{ id: number; version: number }[]>`select id, version from item`;
  const events = final.reduce((sum, { version }) => sum + version + 1, 0);
  await receiver.waitUntil((all) => new Set(all.map(idOf)).size >= events, patience);
  const arrived = new Map<unknown, unknown[]>(final.map(({ id }) => [id, []]));
  const firsts = new Map(receiver.requests.map((request) => [idOf(request), request.body]));
  for (const body of firsts.values()) {
    const event = JSON.parse(body) as { Data: { columns: { value: unknown }[] } };
    const [id, version] = event.Data.columns;
    arrived.get(id?.value)?.push(version?.value);
  }
  for (const { id, version } of final) {
    expect(arrived.get(id)).toEqual(Array.from({ length: version + 1 }, (_, i) => i));
  }
}

const more = (receiver: Receiver, count: number) =>
  receiver.waitFor(receiver.requests.length + count, patience);

const expectAlive = async (runner: Runner) =>
  expect(await runner.kill('SIGTERM')).toEqual({ code: 0, signal: null });

/** The process that serves the slot, once there is one other than `previous`. */
const walsender = (sql: postgres.Sql, slot: string, previous = 0): Promise<number> =>
  eventually(async () => {
    const [row] = await sql<{ pid: number }[]>`
      select active_pid as pid from pg_replication_slots
      where slot_name = ${slot} and active_pid <> ${previous}`;
    return row?.pid ?? false;
  }, patience);

/** Ends the SQL connections of the runner, at least one. */
const cutSql = (sql: postgres.Sql) =>
  eventually(async () => {
    const cut = await sql`
      select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
      and application_name = 'pgstream' and backend_type = 'client backend'`;
    return cut.length;
  });

test('nothing is lost or out of order when Postgres crashes and restarts under load', async () => {
  const { sql, url, receiver, runner } = await setUp();
  const stop = load(url, receiver);
  for (let round = 0; round < 3; round++) {
    await more(receiver, 300);
    await server.crash();
    await server.restart();
    await more(receiver, 300);
    await server.restart();
  }
  await stop();
  await expectEverything(sql, receiver);
  await expectAlive(runner);
});

test('after a crash of Postgres and of the runner nothing comes again that was confirmed', async () => {
  const { sql, receiver, runner, start } = await setUp();
  await receiver.waitFor(rows);
  await sql`insert into item values (1000, 0)`;
  await receiver.waitFor(rows + 1);
  const [now] = await sql`select pg_current_wal_insert_lsn()::text as lsn`;
  await eventually(async () => {
    const slots = await sql`
      select from pg_replication_slots
      where database = current_database() and confirmed_flush_lsn >= ${now!['lsn']}::pg_lsn`;
    return slots.length;
  }, patience);
  await runner.kill();
  await server.crash();
  await server.restart();
  const second = start();
  await second.waitForLog(/"streaming"/, patience);
  await sql`insert into item values (1001, 0)`;
  await receiver.waitFor(rows + 2, patience);
  await expectAlive(second);
  expect(receiver.requests).toHaveLength(rows + 2);
});

test('a stop does not wait for a Postgres that is away, and what could not be stored comes again', async () => {
  const { sql, receiver, runner, start } = await setUp();
  await receiver.waitFor(rows);
  receiver.reply({ status: 503 });
  await sql`update item set version = version + 1`;
  await more(receiver, 1);
  await server.crash();
  await runner.waitForLog(/Postgres is away/);
  await expectAlive(runner);

  await server.restart();
  receiver.reply({});
  start();
  await receiver.waitUntil(
    (all) => all.filter(({ status }) => status === 200).length >= 2 * rows,
    patience,
  );
  await expectEverything(sql, receiver);
});

test('a fast stop of Postgres does not wait for an endpoint that hangs, now or the next time', async () => {
  const { sql, receiver, runner } = await setUp();
  await receiver.waitFor(rows);
  await sql`update pgstream.webhook_subscriptions set timeout = '3 s'`;
  receiver.reply({ fault: 'hang' });
  await sql`update item set version = version + 1`;
  await more(receiver, 1);
  for (let round = 0; round < 3; round++) {
    const before = Date.now();
    await server.restart();
    expect(Date.now() - before).toBeLessThan(8_000); // held up, it takes ten seconds
    await eventually(() => {
      expect(runner.stderr.match(/"streaming"/g)).toHaveLength(2 + round);
    });
  }
  receiver.reply({});
  await expectEverything(sql, receiver);
  await expectAlive(runner);
});

test('a walsender that is terminated twenty times costs neither an event nor a repeat', async () => {
  const { sql, url, slot, receiver, runner } = await setUp();
  await receiver.waitFor(rows);
  await sql`update pgstream.webhook_subscriptions set timeout = '5 min'`;
  let letGo = (): void => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  // One event is under way all the time, so that nothing behind it is confirmed.
  receiver.reply(() => {
    receiver.reply({});
    return held.then(() => ({}));
  });
  const stop = load(url, receiver);
  for (let round = 0, pid = 0; round < 20; round++) {
    pid = await walsender(sql, slot, pid);
    await more(receiver, 50);
    await sql`select pg_terminate_backend(${pid})`;
  }
  await stop();
  letGo();
  await expectEverything(sql, receiver);
  expect(new Set(receiver.requests.map(idOf)).size).toBe(receiver.requests.length);
  await expectAlive(runner);
});

test('a runner whose SQL connections are all terminated goes on, and still follows subscriptions', async () => {
  const { sql, url, receiver, runner } = await setUp();
  const stop = load(url, receiver);
  for (let round = 0; round < 25; round++) {
    await more(receiver, 20);
    await cutSql(sql);
  }
  await stop();
  await expectEverything(sql, receiver);

  const other = await startReceiver();
  onTestFinished(() => other.close());
  receiver.reply({ status: 500 });
  await sql`update item set version = version + 1 where id = 1`;
  await more(receiver, 1);
  await sql`update pgstream.webhook_subscriptions set url = ${other.url}`;
  await other.waitFor(1);
  await expectAlive(runner);
});

test.each([
  ['does not let go when the SQL connections break', cutSql],
  ['gives no sign of life', () => undefined],
])(
  'a walsender that %s is left, and the stream made anew',
  async (_, cut) => {
    const { sql, slot, receiver, runner } = await setUp();
    await receiver.waitFor(rows);
    const pid = await walsender(sql, slot);
    process.kill(pid, 'SIGSTOP');
    await cut(sql);
    await sql`update item set version = version + 1`;
    await runner.waitForLog(/not streaming/, { timeout: 45_000 });
    process.kill(pid, 'SIGCONT');
    await expectEverything(sql, receiver);
    await expectAlive(runner);
  },
  90_000,
);

test('a runner that hangs is replaced, and knows when it leads again what was subscribed meanwhile', async () => {
  const { sql, receiver, runner, start } = await setUp();
  await receiver.waitFor(rows);
  const other = start();
  await other.waitForLog(/standing by/);
  process.kill(runner.pid, 'SIGSTOP');
  await other.waitForLog(/"streaming"/);
  const late = await startReceiver();
  onTestFinished(() => late.close());
  await sql`create table late (id integer primary key)`;
  await subscribe(sql, late, 'late');
  await sql`insert into late values (1)`;
  await late.waitFor(1);

  process.kill(runner.pid, 'SIGCONT');
  await runner.waitForLog(/another runner has taken/);
  await other.kill('SIGTERM');
  await sql`insert into late values (2)`;
  await late.waitFor(2, patience);
  await expectEverything(sql, receiver);
  await expectAlive(runner);
});

test('a runner that is started while Postgres is down says so and exits with code 4', async () => {
  const { receiver, runner, start } = await setUp();
  await receiver.waitFor(rows);
  await runner.kill('SIGTERM');
  await server.crash();
  onTestFinished(() => server.restart());
  const late = start();
  expect(await late.exited).toEqual({ code: 4, signal: null });
  expect(late.stderr).toContain('nothing listens there');
});
