/** What every measurement needs: a server, a runner, and other processes that say when they began. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { findPostgres } from '../dist/embedded/find.js';
import { startPostgres } from '../dist/embedded/start.js';

/** Milliseconds of CLOCK_MONOTONIC, the same for all processes. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;

export const slotName = 'pgstream_postgres_slot';

/** A Postgres of its own, with these settings, and a pool of connections to it. */
export async function startDatabase(settings = {}) {
  const server = await startPostgres({ settings });
  const sql = postgres(server.url, { max: 4, onnotice: () => undefined });
  return {
    url: server.url,
    sql,
    /** One connection, without waiting for the disk at each commit. */
    async write(work) {
      const connection = await sql.reserve();
      try {
        await connection`set synchronous_commit = off`;
        await work(connection);
      } finally {
        await connection`reset synchronous_commit`;
        connection.release();
      }
    },
    async position() {
      const [{ lsn }] = await sql`select pg_current_wal_insert_lsn()::text as lsn`;
      return lsn;
    },
    async stop() {
      await sql.end({ timeout: 1 });
      await server.stop('immediate');
    },
  };
}

function spawnPgstream(database, args) {
  const child = spawn(
    process.execPath,
    [path.join(import.meta.dirname, '../dist/cli.js'), ...args],
    {
      env: {
        ...process.env,
        PGSTREAM_POSTGRES_LISTENER_URL: database.url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        PGSTREAM_LOG_LEVEL: 'info',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  endWithUs(child);
  return child;
}

/** Runs `pgstream` to its end. */
export async function pgstream(database, ...args) {
  const child = spawnPgstream(database, args);
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  if (code !== 0) throw new Error(`pgstream ${args.join(' ')}: ${said}`);
}

/** `pgstream run`, streaming. */
export async function startRunner(database, ...flags) {
  const runner = spawnPgstream(database, ['run', ...flags]);
  const streamingAt = await whenItSays(runner, /"streaming"/);
  return {
    streamingAt,
    /** Bytes: the most that was ever resident. */
    peakMemory() {
      if (!existsSync('/proc/self/status')) return NaN;
      const status = readFileSync(`/proc/${runner.pid}/status`, 'utf8');
      return Number(/VmHWM:\s+(\d+) kB/.exec(status)[1]) * 1024;
    },
    async stop(signal = 'SIGTERM') {
      runner.kill(signal);
      await once(runner, 'exit');
    },
    /** Waits until nothing that has been written by now would be read again after a restart. */
    async settle() {
      const position = await database.position();
      await until(async () => {
        await database.sql`checkpoint`;
        const [slot] = await database.sql`
          select from pg_replication_slots where slot_name = ${slotName}
            and restart_lsn >= ${position}::pg_lsn and confirmed_flush_lsn >= ${position}::pg_lsn`;
        return slot;
      });
    },
  };
}

/** `pg_recvlogical`, streaming what the runner streams; nothing where it is not installed. */
export async function startRecvlogical(database, slot, { publication, file, endAt }) {
  const { binDir } = await findPostgres();
  const program = [path.join(binDir, 'pg_recvlogical'), '/usr/bin/pg_recvlogical'].find((each) =>
    existsSync(each),
  );
  if (!program) return undefined;
  const args = ['--start', '--verbose', '--dbname', database.url, '--slot', slot, '--file', file];
  const options = ['proto_version=1', `publication_names=${publication}`];
  for (const option of options) args.push('--option', option);
  if (endAt) args.push('--endpos', endAt);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  endWithUs(child);
  const ended = once(child, 'exit').then(now);
  const streamingAt = await whenItSays(child, /streaming initiated/);
  return {
    streamingAt,
    output: child.stdout,
    ended,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** Also when we are interrupted. */
function endWithUs(child) {
  const kill = () => child.kill();
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
}

/** The time at which a process prints the text to its standard error; what is amiss is passed on. */
function whenItSays(child, text) {
  return new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stderr }).on('line', (line) => {
      if (text.test(line)) resolve(now());
      else if (/"level":"(error|warn)"|: error:/.test(line)) console.error(line);
    });
    child.once('exit', (code) => reject(new Error(`${child.spawnfile} ended with ${code}`)));
  });
}

export async function until(condition) {
  while (!(await condition())) await sleep(50);
}
