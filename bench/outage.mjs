// One endpoint of ten is dead: what do the others, and the slot, notice of it?
//   npm run bench:outage [-- --rate 2000 --seconds 15 --rounds 3]
// Ten tables, each with a subscription of its own. Rounds with all endpoints up alternate with rounds
// in which one refuses; latency is from before the commit to the receipt, of the nine others.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { startPostgres } from '../dist/embedded/start.js';

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '15' },
    rounds: { type: 'string', default: '3' },
  },
});
const [rate, seconds, rounds] = [values.rate, values.seconds, values.rounds].map(Number);
const endpoints = 10;
const writers = 8;

const server = await startPostgres();
const sql = postgres(server.url, { max: writers + 2, onnotice: () => undefined });
const latencies = { up: [], down: [] };
let phase = 'warm';
let isDead = false;
/** Per table and row: the versions in the order of their first arrival. */
const arrived = new Map();

const receiver = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const table = Number(request.url.slice(1));
    if (table === 0 && isDead) {
      response.writeHead(503).end();
      return;
    }
    const { columns } = JSON.parse(Buffer.concat(chunks)).Data;
    const [id, version, sentAt] = columns.map(({ value }) => value);
    if (table > 0 && phase in latencies) {
      latencies[phase].push(performance.now() - Number(sentAt));
    }
    const key = `${table}/${id}`;
    const before = arrived.get(key) ?? { version: 0, disorder: 0, repeats: 0 };
    if (version === before.version + 1) before.version = version;
    else if (version <= before.version) before.repeats++;
    else before.disorder++;
    arrived.set(key, before);
    response.writeHead(204).end();
  });
});
receiver.listen(0, '127.0.0.1');
await once(receiver, 'listening');
const url = `http://127.0.0.1:${receiver.address().port}`;

const runner = spawn(
  process.execPath,
  [path.join(import.meta.dirname, '../dist/cli.js'), 'run', '--init', '--log-level', 'warn'],
  {
    env: {
      ...process.env,
      PGSTREAM_POSTGRES_LISTENER_URL: server.url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  },
);
try {
  await until(async () => (await slot())?.active);
  for (let i = 0; i < endpoints; i++) {
    await sql.unsafe(
      `create table t${i} (id integer primary key, version integer, sent_at float8)`,
    );
    await sql`insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
      values (${`${url}/${i}`}, 'public', ${`t${i}`})`;
  }

  const written = new Map();
  let isWriting = true;
  const write = async (writer) => {
    const everyMs = (1000 / rate) * writers;
    for (let due = performance.now(), n = 0; isWriting; due += everyMs, n++) {
      const wait = due - performance.now();
      if (wait > 0) await sleep(wait);
      const table = n % endpoints;
      const id = writer * 1000 + (n % 50);
      const key = `${table}/${id}`;
      const version = (written.get(key) ?? 0) + 1;
      written.set(key, version);
      await sql.unsafe(
        `insert into t${table} values ($1, $2, $3) on conflict (id) do update
         set version = excluded.version, sent_at = excluded.sent_at`,
        [id, version, performance.now()],
      );
    }
  };
  const writing = Array.from({ length: writers }, (_, writer) => write(writer));

  let worstLag = 0;
  let isSampling = true;
  const sampling = (async () => {
    for (; isSampling; await sleep(250)) {
      worstLag = Math.max(worstLag, Number((await slot()).lag));
    }
  })();

  await sleep(5_000);
  const ratios = [];
  for (let round = 1; round <= rounds; round++) {
    for (const name of ['up', 'down']) {
      latencies[name] = [];
      isDead = name === 'down';
      await sleep(1_000);
      phase = name;
      await sleep(seconds * 1_000);
      phase = 'between';
    }
    isDead = false;
    const [up, down] = [latencies.up, latencies.down].map(quantiles);
    ratios.push({ p50: down.p50 / up.p50, p99: down.p99 / up.p99 });
    console.log(`round ${round}  all up: ${show(up)}  one dead: ${show(down)}`);
    await sleep(5_000);
  }
  isWriting = false;
  await Promise.all(writing);
  const total = [...written.values()].reduce((sum, n) => sum + n, 0);
  await until(() => [...written].every(([key, version]) => arrived.get(key)?.version === version));
  isSampling = false;
  await sampling;
  const all = [...arrived.values()];
  const sum = (of) => all.reduce((count, each) => count + of(each), 0);
  console.log(
    `changes ${total}, out of order ${sum((e) => e.disorder)}, repeated ${sum((e) => e.repeats)}`,
  );
  console.log(
    `latency of the others, one dead / all up: p50 ${spread(ratios.map((r) => r.p50))}, p99 ${spread(ratios.map((r) => r.p99))}`,
  );
  console.log(`worst lag of the slot: ${(worstLag / 1e6).toFixed(1)} MB`);
} finally {
  runner.kill('SIGTERM');
  await once(runner, 'exit');
  receiver.close();
  receiver.closeAllConnections();
  await sql.end({ timeout: 1 });
  await server.stop('immediate');
}

async function slot() {
  const [row] = await sql`
    select active, pg_current_wal_lsn() - confirmed_flush_lsn as lag from pg_replication_slots`;
  return row;
}

async function until(condition) {
  while (!(await condition())) await sleep(50);
}

function quantiles(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { count: sorted.length, p50: at(0.5), p99: at(0.99) };
}

function show({ count, p50, p99 }) {
  return `${count} events, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`;
}

function spread(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return `${middle.toFixed(2)} (${sorted[0].toFixed(2)} to ${sorted.at(-1).toFixed(2)})`;
}
