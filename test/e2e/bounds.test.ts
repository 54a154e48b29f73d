import { once } from 'node:events';
import fs from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/embedded/start.js';
import { createDatabase } from '../helpers/database.js';
import { patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';

/** A table `item` in a database, of the shared cluster unless told otherwise. */
async function setUp(ownUrl?: string) {
  const url = ownUrl ?? (await createTestDatabase());
  const sql = postgres(url, { max: 2, onnotice: () => undefined });
  onTestFinished(() => sql.end({ timeout: 0 }));
  await sql`create table item (id integer primary key, note text)`;
  const start = async (settings: Record<string, string> = {}) => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        ...settings,
      },
    });
    onTestFailed(() => console.error(runner.stderr));
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  const subscribe = (endpoint: string, timeout: string | null = null) => sql`
    insert into pgstream.webhook_subscriptions (url, table_name, timeout)
    values (${endpoint}, 'item', ${timeout})`;
  const position = async () => {
    const [now] = await sql<{ lsn: string }[]>`select pg_current_wal_insert_lsn() as lsn`;
    return now!.lsn;
  };
  const isConfirmed = async (lsn: string) => {
    const [slot] = await sql<{ done: boolean }[]>`
      select confirmed_flush_lsn >= ${lsn}::pg_lsn as done
      from pg_replication_slots where database = current_database()`;
    return slot!.done;
  };
  const walsender = async () => {
    const [slot] = await sql<{ pid: number | null }[]>`
      select active_pid as pid from pg_replication_slots where database = current_database()`;
    return slot!.pid;
  };
  return { sql, start, subscribe, position, isConfirmed, walsender };
}

async function createTestDatabase(): Promise<string> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return database.url;
}

async function receive() {
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  return receiver;
}

/** An endpoint that keeps nothing of what it gets. */
async function listen(listener: http.RequestListener): Promise<string> {
  const server = http.createServer(listener);
  onTestFinished(() => server.closeAllConnections());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.runIf(process.platform === 'linux')(
  'a transaction of 200,000 rows arrives whole through bounded memory',
  async () => {
    const { sql, start, subscribe } = await setUp();
    const ids = new Set<string>();
    await subscribe(
      await listen((request, response) => {
        ids.add(String(request.headers['webhook-id']));
        request.resume().once('end', () => response.end());
      }),
    );
    const runner = await start();
    await sql`insert into item select generate_series(1, 200000)`;
    await eventually(() => ids.size === 200_000, { timeout: 150_000 });
    const status = await fs.readFile(`/proc/${runner.pid}/status`, 'utf8');
    const mostKilobytes = Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]);
    expect(mostKilobytes).toBeLessThan(400 * 1024);
  },
  180_000,
);

test('a server with a short timeout keeps its walsender while an endpoint hangs and memory is full', async () => {
  const server = await startPostgres({ settings: { wal_sender_timeout: '2s' } });
  onTestFinished(() => server.stop('immediate'));
  const { sql, start, subscribe, walsender } = await setUp(server.url);
  const receiver = await receive();
  receiver.reply({ fault: 'hang' });
  const runner = await start({ PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES: '1MB' });
  await subscribe(receiver.url, '10 s');
  const before = await walsender();
  await sql`insert into item select n, repeat('x', 100000) from generate_series(1, 500) n`;
  const isRepeated = (ids: unknown[]) => new Set(ids).size < ids.length;
  await receiver.waitUntil(
    (all) => isRepeated(all.map(({ headers }) => headers['webhook-id'])), // after ten seconds
    patience,
  );
  expect(await walsender()).toBe(before);
  expect(runner.stderr).not.toContain('not streaming');
});

test('a connection that is lost in the middle of a large transaction costs neither an event nor a repeat', async () => {
  const { sql, start, subscribe, walsender } = await setUp();
  const receiver = await receive();
  await subscribe(receiver.url);
  await start({ PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES: '1MB' });
  await sql`insert into item select n, repeat('x', 20000) from generate_series(1, 2000) n`;
  const cut = new Set<number | null>();
  for (let round = 1; round <= 5; round++) {
    await receiver.waitFor(200 * round, patience);
    const pid = await eventually(async () => {
      const now = await walsender();
      return !cut.has(now) && now;
    }, patience);
    await sql`select pg_terminate_backend(${pid})`;
    cut.add(pid);
  }
  await receiver.waitFor(2_000, patience);
  const ids = new Set(receiver.requests.map(({ headers }) => headers['webhook-id']));
  expect([ids.size, receiver.requests.length]).toEqual([2_000, 2_000]);
});

test('an answer without end is read to a bound, and a slow one to the timeout', async () => {
  const { sql, start, subscribe, position, isConfirmed } = await setUp();
  const requests = { endless: 0, slow: 0 };
  let written = 0;
  const url = await listen((request, response) => {
    const kind = request.url === '/endless' ? 'endless' : 'slow';
    requests[kind]++;
    request.resume();
    const chunk = Buffer.alloc(kind === 'endless' ? 65_536 : 1);
    const write = async () => {
      if (response.destroyed) return;
      if (kind === 'slow') await setTimeout(10);
      else written += chunk.length;
      response.write(chunk, () => void write());
    };
    void write();
  });
  await subscribe(`${url}/endless`);
  await subscribe(`${url}/slow`, '200 ms');
  await start();
  await sql`insert into item (id) values (1)`;
  await sql`update item set note = 'changed'`;
  await eventually(() => requests.slow >= 3, patience);
  await sql`delete from pgstream.webhook_subscriptions where timeout is not null`;
  const end = await position();
  await eventually(() => isConfirmed(end), patience);
  expect(requests.endless).toBe(2);
  expect(written).toBeLessThan(64 * 1024 ** 2);
});

test('the first SIGTERM lets what is under way end, confirms it and exits with 0', async () => {
  const { sql, start, subscribe } = await setUp();
  const receiver = await receive();
  let answer = () => undefined as void;
  const answerable = new Promise<void>((resolve) => (answer = resolve));
  receiver.reply(() => answerable.then(() => ({})));
  await subscribe(receiver.url);
  const runner = await start();
  await sql`insert into item select generate_series(1, 10)`;
  await receiver.waitFor(10);
  const ended = runner.kill('SIGTERM');
  await runner.waitForLog(/stopping/);
  answer();
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(receiver.requests.map(({ status }) => status)).toEqual(Array(10).fill(200));

  await start();
  await sql`insert into item values (11)`;
  await receiver.waitFor(11);
  expect(receiver.requests).toHaveLength(11);
});

test('the second SIGTERM does not wait for an endpoint that hangs', async () => {
  const { sql, start, subscribe, position, isConfirmed } = await setUp();
  const receiver = await receive();
  receiver.reply({ fault: 'hang' });
  await subscribe(receiver.url, '1 min');
  const runner = await start();
  await sql`insert into item values (1)`;
  const end = await position();
  await receiver.waitFor(1);
  const ended = runner.kill('SIGTERM');
  await runner.waitForLog(/stopping/);
  await runner.kill('SIGTERM');
  expect(await ended).toEqual({ code: 143, signal: null });
  expect(await isConfirmed(end)).toBe(false);
});

test('WAL of others is confirmed when nothing is under way, and not when something is', async () => {
  const { sql, start, subscribe, position, isConfirmed } = await setUp();
  const receiver = await receive();
  await subscribe(receiver.url, '1 s');
  await start();
  await sql`create table other (n integer)`;
  for (let round = 0; round < 3; round++) {
    await sql`insert into other select generate_series(1, 1000)`;
    const end = await position();
    await eventually(() => isConfirmed(end));
  }

  receiver.reply({ fault: 'hang' });
  const before = await position();
  await sql`insert into item values (1)`;
  await receiver.waitFor(1);
  await sql`insert into other select generate_series(1, 1000)`;
  const end = await position();
  await eventually(async () => {
    const [now] = await sql`
      select exists (select from pgstream.webhook_deliveries) as stored,
             confirmed_flush_lsn <= ${before}::pg_lsn as held
      from pg_replication_slots where database = current_database()`;
    if (!now!['stored']) expect(now).toEqual({ stored: false, held: true });
    return now!['stored'];
  }, patience);
  await eventually(() => isConfirmed(end));

  receiver.reply({});
  await eventually(async () => {
    const rows = await sql`select from pgstream.webhook_deliveries`;
    return rows.length === 0;
  }, patience);
});
