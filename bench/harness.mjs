/** What every measurement needs: a server, a receiver, a runner, and figures. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { startPostgres } from '../dist/embedded/start.js';

/** A Postgres of its own, and a pool of connections to it. */
export async function startDatabase(connections = 4) {
  const server = await startPostgres();
  const sql = postgres(server.url, { max: connections, onnotice: () => undefined });
  return {
    url: server.url,
    sql,
    async slot() {
      const [row] = await sql`
        select active, pg_current_wal_lsn() - confirmed_flush_lsn as lag
        from pg_replication_slots`;
      return row;
    },
    async stop() {
      await sql.end({ timeout: 1 });
      await server.stop('immediate');
    },
  };
}

/** An endpoint; `answer(path, body)` says which status to answer, or nothing to say nothing. */
export async function startReceiver(answer) {
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const status = answer(request.url, Buffer.concat(chunks));
      if (status !== undefined) response.writeHead(status).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** `pgstream run`, streaming. */
export async function startRunner(database, env = {}) {
  const cli = path.join(import.meta.dirname, '../dist/cli.js');
  const runner = spawn(process.execPath, [cli, 'run', '--init', '--log-level', 'warn'], {
    env: {
      ...process.env,
      PGSTREAM_POSTGRES_LISTENER_URL: database.url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      ...env,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await until(async () => (await database.slot())?.active);
  return {
    /** Bytes: the most that was ever resident. */
    peakMemory() {
      const status = readFileSync(`/proc/${runner.pid}/status`, 'utf8');
      return Number(/VmHWM:\s+(\d+) kB/.exec(status)[1]) * 1024;
    },
    async stop() {
      runner.kill('SIGTERM');
      await once(runner, 'exit');
    },
  };
}

export async function until(condition) {
  while (!(await condition())) await sleep(50);
}

export function quantiles(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { count: sorted.length, p50: at(0.5), p99: at(0.99) };
}

/** The median, with the least and the most. */
export function spread(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return `${middle.toFixed(2)} (${sorted[0].toFixed(2)} to ${sorted.at(-1).toFixed(2)})`;
}

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
