import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import { describe, expect, onTestFinished, test } from 'vitest';
import { findPostgres, type PostgresSource } from '../../src/embedded/find.js';
import { anyAlive } from '../../src/embedded/processes.js';
import { startPostgres, type StartOptions } from '../../src/embedded/start.js';
import { eventually } from '../helpers/poll.js';

async function start(options: StartOptions = {}) {
  const server = await startPostgres(options);
  onTestFinished(() => server.stop('immediate'));
  return server;
}

function connect(url: string) {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => sql.end({ timeout: 0 }));
  return sql;
}

async function postmasterOf(dataDir: string): Promise<number> {
  return Number.parseInt(await fs.readFile(path.join(dataDir, 'postmaster.pid'), 'utf8'), 10);
}

async function isInstalled(source: PostgresSource): Promise<boolean> {
  return findPostgres({ prefer: [source] }).then(
    () => true,
    () => false,
  );
}

describe.each<PostgresSource>(['local', 'embedded'])('%s binaries', async (source) => {
  const prefer = [source];

  describe.skipIf(!(await isInstalled(source)))('where installed', () => {
    test('a throw-away server answers and has logical decoding', async () => {
      const steps: string[] = [];
      const server = await start({ prefer, onProgress: (text) => steps.push(text) });
      const sql = connect(server.url);

      const [row] = await sql`select version(), current_setting('data_directory') as directory`;
      expect(row?.['version']).toContain(`PostgreSQL ${server.version}`);
      expect(row?.['directory']).toBe(server.dataDir);
      expect(server.source).toBe(source);
      expect(steps).toHaveLength(3);

      await sql`select pg_create_logical_replication_slot('a_slot', 'pgoutput')`;
      const slots = await sql`select slot_name, plugin from pg_replication_slots`;
      expect(slots).toEqual([{ slot_name: 'a_slot', plugin: 'pgoutput' }]);
    });

    test('a crash kills every process, and a restart has every commit', async () => {
      const server = await start({ prefer });
      const writer = connect(server.url);
      await writer`create table kept (n integer)`;
      const [backend] = await writer`select pg_backend_pid() as pid`;
      const postmaster = await postmasterOf(server.dataDir);
      for (let n = 1; n <= 20; n += 1) await writer`insert into kept values (${n})`;
      const asleep = connect(server.url)`select pg_sleep(60)`.then(
        () => 'answered',
        () => 'cut off',
      );

      await server.crash();
      expect(await anyAlive([postmaster, Number(backend?.['pid'])])).toBe(false);
      expect(await asleep).toBe('cut off');

      await server.restart();
      expect(await connect(server.url)`select count(*)::int as n from kept`).toEqual([{ n: 20 }]);
    });

    test('stopping leaves no process and no directory', async () => {
      const server = await start({ prefer });
      const postmaster = await postmasterOf(server.dataDir);

      await server.stop();
      await server.stop();

      expect(await anyAlive([postmaster])).toBe(false);
      expect(existsSync(path.dirname(server.dataDir))).toBe(false);
    });

    test('a data directory of the caller stays, and is found again', async () => {
      const home = await fs.mkdtemp(path.join(os.tmpdir(), 'pgstream-test-'));
      onTestFinished(() => fs.rm(home, { recursive: true }));
      await fs.chmod(home, 0o755);
      const dataDir = path.join(home, 'some', 'data');
      const first = await start({ prefer, dataDir });
      await connect(first.url)`create table kept ()`;
      expect(await connect(first.url)`show fsync`).toEqual([{ fsync: 'on' }]);
      await first.stop();

      const second = await start({ prefer, dataDir });
      expect(await connect(second.url)`select from kept`).toHaveLength(0);
    });

    test('a password is asked for when there is one', async () => {
      const server = await start({ prefer, password: 'it is @ secret' });
      expect(await connect(server.url)`select 1 as n`).toEqual([{ n: 1 }]);

      const wrong = new URL(server.url);
      wrong.password = 'wrong';
      await expect(connect(wrong.href)`select 1`).rejects.toMatchObject({ code: '28P01' });
    });
  });
});

test('settings of the caller win', async () => {
  const server = await start({ settings: { wal_level: 'replica', max_replication_slots: 3 } });
  const sql = connect(server.url);
  expect(await sql`show wal_level`).toEqual([{ wal_level: 'replica' }]);
  expect(await sql`show max_replication_slots`).toEqual([{ max_replication_slots: '3' }]);
});

test('a port that is taken is an error of its own', async () => {
  const { port } = await start();
  await expect(startPostgres({ port })).rejects.toMatchObject({ code: 'address_in_use' });
});

test('a setting that Postgres refuses is named in the error', async () => {
  const refused = startPostgres({ settings: { wal_level: 'loud' } });
  await expect(refused).rejects.toMatchObject({
    code: 'postgres_did_not_start',
    message: expect.stringContaining('invalid value for parameter "wal_level"'),
  });
});

test('a version that nobody has is reported with what was looked at and what to do', async () => {
  await expect(startPostgres({ major: 13 })).rejects.toMatchObject({
    code: 'no_postgres',
    message: expect.stringContaining('no PostgreSQL 13 found'),
    hint: expect.stringContaining('PG_BIN_DIR'),
  });
});

test.runIf(process.platform === 'linux')(
  'the server ends when the process that started it is killed',
  async () => {
    const built = path.resolve(import.meta.dirname, '../../dist/embedded/start.js');
    const program = `
      import { startPostgres } from ${JSON.stringify(built)};
      const server = await startPostgres();
      console.log(JSON.stringify(server));`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void parent.kill('SIGKILL'));
    let output = '';
    parent.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const { dataDir } = await eventually(() => JSON.parse(output) as { dataDir: string });
    onTestFinished(() => fs.rm(path.dirname(dataDir), { recursive: true, force: true }));
    const postmaster = await postmasterOf(dataDir);

    parent.kill('SIGKILL');
    await eventually(async () => !(await anyAlive([postmaster])));
  },
);
