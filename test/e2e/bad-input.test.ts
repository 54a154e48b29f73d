import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { unprivilegedAccount } from '../../src/embedded/account.js';
import { makeScratchDirectory } from '../../src/embedded/cluster.js';
import {
  startPostgres,
  type RunningPostgres,
  type StartOptions,
} from '../../src/embedded/start.js';
import { sessionSettings } from '../../src/settings/connection.js';
import { clusterUrl } from '../helpers/cluster-url.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { databaseUrl } from '../helpers/template.js';

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

type Env = Record<string, string>;

const anyPort = { PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0' };

async function pgstream(args: string[], url?: string, env: Env = {}): Promise<Outcome> {
  const source = url === undefined ? {} : { PGSTREAM_POSTGRES_LISTENER_URL: url };
  const runner = startRunner(args, { env: { ...source, ...env } });
  const { code } = await runner.exited;
  return { code, stdout: runner.stdout, stderr: runner.stderr };
}

type Refusal = [exitCode: number, message: RegExp, hint?: RegExp];

/** One ERROR with a HINT, for people: nothing of our insides, and no success. */
function expectError({ code, stdout, stderr }: Outcome, [exit, message, hint]: Refusal): void {
  expect(stderr.match(/^ERROR {2}/gm), stderr).toHaveLength(1);
  expect(stderr.slice(stderr.indexOf('ERROR  '))).toMatch(message);
  if (hint) expect(stderr).toMatch(new RegExp(`^HINT {3}.*${hint.source}`, 'm'));
  expect(stderr).not.toMatch(/\n\s+at |node_modules|\.[jt]s:\d|\[object|undefined|a bug of/);
  expect(stdout).not.toContain('SUCCESS');
  expect(code).toBe(exit);
}

/** What of ours there is in a database, and slots of it. */
async function remains(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select nspname::text as name from pg_namespace where nspname = 'pgstream'
    union all select pubname from pg_publication where pubname like 'pgstream%'
    union all select evtname from pg_event_trigger where evtname like 'pgstream%'
    union all select slot_name from pg_replication_slots
      where database = current_database() and slot_name like 'pgstream%'`;
  return rows.map(({ name }) => name);
}

/** A database with or without pgstream; it goes with the test. */
async function ownDatabase(template = true): Promise<TestDatabase & { slot: string }> {
  const database = await createDatabase({ template });
  onTestFinished(() => database.drop());
  return { ...database, slot: `pgstream_${database.name}_slot` };
}

async function ownRole(database: TestDatabase, attributes: string): Promise<string> {
  const role = `role_of_${database.name}`;
  await database.sql.unsafe(`create role ${role} login ${attributes}`);
  onTestFinished(() => database.sql.unsafe(`drop owned by ${role}; drop role ${role}`).then());
  const url = new URL(database.url);
  url.username = role;
  return url.href;
}

async function ownCluster(options: StartOptions): Promise<RunningPostgres & { sql: postgres.Sql }> {
  const cluster = await startPostgres(options);
  onTestFinished(() => cluster.stop('immediate'));
  const sql = postgres(cluster.url, { max: 1 });
  onTestFinished(() => sql.end({ timeout: 0 }));
  return { ...cluster, sql };
}

async function listen(): Promise<{ port: number; close: () => void }> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}

async function temporaryFile(content: string, name = 'pgstream.env'): Promise<string> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'pgstream-test-'));
  onTestFinished(() => fs.rm(directory, { recursive: true }));
  await fs.writeFile(path.join(directory, name), content);
  return path.join(directory, name);
}

describe.each([['init'], ['run'], ['tear-down']])('%s without a usable connection', (command) => {
  test('where nothing listens', async () => {
    const { port, close } = await listen();
    close();
    const outcome = await pgstream([command], `postgres://me:hush@127.0.0.1:${port}/db`);
    expectError(outcome, [4, /cannot connect to postgres:\/\/me@127/, /Start Postgres/]);
    expect(outcome.stderr).not.toContain('hush');
  });

  test('to a host and a database that do not exist', async () => {
    const host = await pgstream([command], 'postgres://me@no-such-host.invalid/db');
    expectError(host, [4, /"no-such-host.invalid" cannot be resolved/, /Correct the host name/]);
    const database = await pgstream([command], databaseUrl(clusterUrl(), 'no_such_db'));
    expectError(database, [4, /database "no_such_db" does not exist/, /createdb no_such_db/]);
  });

  test('with a URL that is none, or with none', async () => {
    const outcome = await pgstream([command], 'postgres://u:p/a@ss@host/db');
    expectError(outcome, [2, /the connection URL cannot be read/, /Percent-encode/]);
    expect(outcome.stderr).not.toContain('a@ss');
    const mysql = await pgstream([command, '--pgurl', 'mysql://host/db']);
    expectError(mysql, [2, /does not begin with postgres:\/\//, /Write postgres:\/\//]);
  });
});

test('a server that asks for a password, and has the wrong wal_level', async () => {
  const settings = { wal_level: 'replica' };
  const { url, sql } = await ownCluster({ password: 'right', settings });
  const wrong = url.replace('right', 'wrong');
  expectError(await pgstream(['init'], wrong), [4, /password authentication failed/, /PGPASSWORD/]);
  expectError(await pgstream(['run'], wrong), [4, /password authentication failed/, /PGPASSWORD/]);
  const none = await pgstream(['init'], url.replace(':right', ''), { PGPASSFILE: '/dev/null' });
  expectError(none, [4, /asks for a password/, /No password was given/]);
  expect((await pgstream(['init'], url.replace(':right', ''), { PGPASSWORD: 'wrong' })).code).toBe(
    4,
  );

  for (const command of ['init', 'run']) {
    const outcome = await pgstream([command], url, anyPort);
    expectError(outcome, [1, /wal_level is replica, but must be logical/, /alter system set/]);
  }
  expect(await remains(sql)).toEqual([]);
});

test('a server with no free replication slot', async () => {
  const { url, sql } = await ownCluster({ settings: { max_replication_slots: 1 } });
  await sql`select pg_create_physical_replication_slot('mine')`;
  const outcome = await pgstream(['init'], url);
  expectError(outcome, [1, /all replication slots .* are in use/, /max_replication_slots/]);
  expect(await remains(sql)).toEqual([]);
  await sql`select pg_drop_replication_slot('mine')`;
  expect((await pgstream(['init'], url)).code).toBe(0);
});

describe('slots that cannot be used', () => {
  test('one that is not there', async () => {
    const { url, slot, sql } = await ownDatabase();
    await sql`select pgstream.create_publications()`;
    const outcome = await pgstream(['run'], url, anyPort);
    expectError(outcome, [1, new RegExp(`"${slot}" does not exist`), /pgstream init/]);
  });

  test('one of another output plugin, of another database, or a physical one', async () => {
    const { url, sql, name } = await ownDatabase(false);
    const other = await ownDatabase(false);
    await other.sql`select pg_create_logical_replication_slot(${`${name}_far`}, 'pgoutput')`;
    await sql`select pg_create_logical_replication_slot(${`${name}_test`}, 'test_decoding')`;
    await sql`select pg_create_physical_replication_slot(${`${name}_physical`})`;
    onTestFinished(() => sql`select pg_drop_replication_slot(${`${name}_physical`})`.then());
    for (const [suffix, message] of [
      ['far', `is of database "${other.name}"`],
      ['test', 'uses the output plugin test_decoding'],
      ['physical', 'is physical'],
    ]) {
      const flags = ['--replication-slot', `${name}_${suffix}`];
      const outcome = await pgstream(['init', ...flags], url);
      expectError(outcome, [1, new RegExp(message!), /another name with --replication-slot/]);
    }
    expect(await remains(sql)).toEqual([]);
    await pgstream(['migrate', 'up'], url);
    const run = await pgstream(['run', '--replication-slot', `${name}_test`], url, anyPort);
    expectError(run, [1, /uses the output plugin test_decoding/, /another name/]);
    expectError(await pgstream(['init', '--replication-slot', 'No-Slot'], url), [
      2,
      /"No-Slot"/,
      /no_slot/,
    ]);
  });

  test('one that is older than the publications', async () => {
    const { url, sql, slot } = await ownDatabase();
    await sql`select pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
    await sql`create table t as select 1`;
    const refused = await pgstream(['init'], url);
    expectError(refused, [1, /older than our publications/, /pg_drop_replication_slot/]);
    await sql`select pgstream.create_publications()`;
    await sql`insert into pgstream.webhook_subscriptions (url) values ('http://localhost/')`;
    const runner = startRunner(['run'], {
      env: { PGSTREAM_POSTGRES_LISTENER_URL: url, ...anyPort },
    });
    const [{ version }] = await sql<[{ version: number }]>`
      select current_setting('server_version_num')::integer as version`;
    if (version >= 180_000) {
      await runner.waitForLog(/"msg":"streaming"/); // it skips a publication that is not there yet
      return;
    }
    const { code } = await runner.exited;
    const outcome = { code, stdout: runner.stdout, stderr: runner.stderr };
    expectError(outcome, [
      1,
      /publication "pgstream_\w+" does not exist/,
      /pg_drop_replication_slot/,
    ]);
  });

  test('one that cannot be created in time: nothing stays behind', async () => {
    const { url, sql, name } = await ownDatabase(false);
    await sql`alter database ${sql(name)} set statement_timeout = '4s'`;
    const other = await ownDatabase(false);
    await other.sql.begin(async (tx) => {
      await tx`create table t ()`;
      const outcome = await pgstream(['init'], url);
      expectError(outcome, [1, /statement timeout/]);
    });
    expect(await remains(sql)).toEqual([]);
  });
});

describe('roles that may not do all of it', () => {
  test('none that may create neither schema nor slot is let begin', async () => {
    const database = await ownDatabase(false);
    const url = await ownRole(database, '');
    expectError(await pgstream(['init'], url), [
      1,
      /may not create a schema/,
      /grant create on database/,
    ]);
    await database.sql`grant create on database ${database.sql(database.name)} to public`;
    expectError(await pgstream(['init'], url), [
      1,
      /may not create a replication slot/,
      /alter role/,
    ]);
    expect(await remains(database.sql)).toEqual([]);
  });

  test('without the right to event triggers all else works', async () => {
    const database = await ownDatabase(false);
    const url = await ownRole(database, 'replication');
    await database.sql`grant create on database ${database.sql(database.name)} to public`;
    const init = await pgstream(['init'], url);
    expect(init).toMatchObject({ code: 0, stdout: 'SUCCESS  pgstream initialisation complete\n' });
    expect(init.stderr).toMatch(/^WARNING {2}this role may not create event triggers.*superuser/m);
    expect(await pgstream(['init'], url)).toMatchObject({ code: 0 });

    const sql = postgres(url, { max: 1, onnotice: () => undefined });
    onTestFinished(() => sql.end({ timeout: 0 }));
    const receiver = await startReceiver();
    onTestFinished(() => receiver.close());
    const runner = startRunner(['run'], {
      env: { PGSTREAM_POSTGRES_LISTENER_URL: url, ...anyPort },
    });
    await runner.waitForLog(/"msg":"streaming"/);
    await sql`create schema mine`;
    await sql`create table mine.t (id int primary key)`;
    await sql`insert into pgstream.webhook_subscriptions (url, schema_name) values (${receiver.url}, 'mine')`;
    await sql`insert into mine.t values (1)`;
    await sql`create table mine.later (id int primary key)`;
    expect(await sql`select version::int from pgstream.reconcile()`).toEqual([{ version: 1 }]);
    await sql`insert into mine.later values (2)`;
    await sql`update mine.t set id = 3`;
    const requests = await receiver.waitFor(3);
    const said = requests.map(({ body }) => /"action":"(.)".*"table":"(\w+)"/.exec(body));
    const events = said.map((match) => match?.slice(1).join(' '));
    expect(new Set(events)).toEqual(new Set(['I t', 'I later', 'U t']));
    await runner.kill('SIGTERM');
    expect(await pgstream(['tear-down'], url)).toMatchObject({ code: 0 });
    expect(await remains(database.sql)).toEqual([]);
  });
});

const bouncer = '/usr/sbin/pgbouncer';
if (!existsSync(bouncer)) console.warn(`no ${bouncer}: what happens behind a pooler is not tested`);

describe.runIf(existsSync(bouncer)).each([
  ['as it comes', ''],
  ['that ignores settings', ['options', ...Object.keys(sessionSettings)].join(', ')],
])('behind a pooler %s', (_, ignored) => {
  let port: number;
  let pooler: ReturnType<typeof spawn>;
  let directory: string;

  beforeAll(async () => {
    const free = await listen();
    ({ port } = free);
    const upstream = new URL(clusterUrl());
    const account = unprivilegedAccount();
    directory = await makeScratchDirectory(account);
    await fs.chmod(directory, 0o755);
    const file = path.join(directory, 'pgbouncer.ini');
    await fs.writeFile(
      file,
      `[databases]\n* = host=127.0.0.1 port=${upstream.port} user=postgres\n[pgbouncer]\n` +
        `listen_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =\nauth_type = any\n` +
        `pool_mode = transaction\nignore_startup_parameters = ${ignored}\n`,
      { mode: 0o644 },
    );
    free.close();
    pooler = spawn(bouncer, [file], { ...account, cwd: '/', stdio: 'ignore' });
    await eventually(async () => {
      const probe = net.connect(port, '127.0.0.1');
      await new Promise((resolve, reject) => probe.once('connect', resolve).once('error', reject));
      probe.destroy();
    });
  });
  afterAll(async () => {
    pooler.kill('SIGKILL');
    await fs.rm(directory, { recursive: true });
  });

  const refusal: Refusal = [4, /unsupported startup parameter/, /not to a connection pooler/];

  test.each(['init', 'run'])('%s does not begin', async (command) => {
    const { url, sql } = await ownDatabase(false);
    if (command === 'run') expect((await pgstream(['init'], url)).code).toBe(0);
    const pooled = new URL(url);
    pooled.port = String(port);
    const before = await remains(sql);
    expectError(await pgstream([command], pooled.href, anyPort), refusal);
    expect(await remains(sql)).toEqual(before);
  });
});

describe('run on a database that is not ready', () => {
  test('without the schema', async () => {
    const { url } = await ownDatabase(false);
    expectError(await pgstream(['run'], url, anyPort), [
      1,
      /not installed in this database/,
      /pgstream init/,
    ]);
    expectError(await pgstream(['init', '--slot-only'], url), [
      1,
      /not installed/,
      /pgstream init/,
    ]);
  });

  test('with migrations that are pending', async () => {
    const { url, sql } = await ownDatabase();
    await sql`delete from pgstream.migrations where name > '0002'`;
    const outcome = await pgstream(['run'], url, anyPort);
    expectError(outcome, [3, /migrations have not been run: 0002/, /pgstream migrate up/]);
  });

  test('while the schema log is locked it goes on, and reconciles later', async () => {
    const { url, sql } = await ownDatabase(false);
    const env = { PGSTREAM_POSTGRES_LISTENER_URL: url, ...anyPort };
    const runner = startRunner(['run', '--init'], { env });
    await runner.waitForLog(/"msg":"streaming"/);
    await sql.begin(async (tx) => {
      await tx`create table holder ()`;
      await sql`create table missed ()`;
      await runner.waitForLog(/is locked by another transaction/);
    });
    await eventually(async () => {
      const gaps = await sql`select from pgstream.ddl_error where reconciled_at is null`;
      expect(gaps).toHaveLength(0);
    });
    expect(await runner.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  test('with the port of the subscription server in use', async () => {
    const { url } = await ownDatabase(false);
    await pgstream(['init'], url);
    const { port, close } = await listen();
    onTestFinished(close);
    const address = `127.0.0.1:${port}`;
    const env = { PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: address };
    expectError(await pgstream(['run'], url, env), [
      1,
      new RegExp(`${address} .* is in use`),
      /SERVER_ADDRESS/,
    ]);
  });
});

describe('settings', () => {
  const url = 'postgres://me@127.0.0.1:1/db';

  test('that do not exist are named with where they stand and what was meant', async () => {
    const name = 'PGSTREAM_WEBHOOK_NOTIFIER_WORKER_COUMT';
    const env = await pgstream(['run'], url, { [name]: '3' });
    expectError(env, [2, new RegExp(`environment ${name}: there is no`), /WORKER_COUNT/]);
    const file = await temporaryFile(`# settings\n${name}=3\n`);
    const fromFile = await pgstream(['run', '-c', file], url);
    expectError(fromFile, [2, new RegExp(`pgstream.env:${name}: there is no`), /WORKER_COUNT/]);
  });

  test.each([
    ['PGSTREAM_WEBHOOK_NOTIFIER_CLIENT_TIMEOUT', 'soon', /CLIENT_TIMEOUT: "soon"/, /10s|500ms/],
    ['PGSTREAM_WEBHOOK_NOTIFIER_WORKER_COUNT', '0', /WORKER_COUNT: must be/, /Correct/],
    ['PGSTREAM_LOG_LEVEL', 'loud', /LOG_LEVEL: must be one of trace/, /Correct/],
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS', '0.0.0.0:9900', /no token guards it/, /TOKEN/],
  ])('that are wrong are refused: %s=%s', async (name, value, message, hint) => {
    expectError(await pgstream(['run'], url, { [name]: value }), [2, message, hint]);
  });

  test('that are wrong together are told together', async () => {
    const file = await temporaryFile('PGSTREAM_LOG_LEVEL=loud\nPGSTREAM_NONE=1\n');
    const outcome = await pgstream(['run', '-c', file]);
    expectError(outcome, [
      2,
      /2 settings are wrong:\n- .*:PGSTREAM_NONE: (.*\n)+- .*:PGSTREAM_LOG_LEVEL: /,
      /all of them/,
    ]);
  });

  test('in a file that cannot be read as such are refused', async () => {
    const missing = await pgstream(['run', '-c', '/no/such/file.env'], url);
    expectError(missing, [2, /\/no\/such\/file.env cannot be read \(ENOENT\)/, /after -c/]);
    const directory = await pgstream(['run', '-c', os.tmpdir()], url);
    expectError(directory, [2, /cannot be read \(EISDIR\)/, /after -c/]);
    const yaml = await pgstream(['run', '-c', await temporaryFile('a: b', 'pgstream.yaml')], url);
    expectError(yaml, [2, /is YAML/, /KEY=value/]);
    const prose = await temporaryFile('PGSTREAM_LOG_LEVEL=info\nthis is no setting\n');
    expectError(await pgstream(['run', '-c', prose], url), [2, /pgstream.env:2/, /KEY=value/]);
  });
});

test.each([
  [['frobnicate'], /unknown command 'frobnicate'/],
  [['runn'], /unknown command 'runn'/],
  [['run', '--frobnicate'], /unknown option '--frobnicate'/],
  [['init', '--pgurl'], /argument missing/],
  [['run', 'surplus'], /too many arguments/],
  [['run', '--log-level', 'loud'], /must be one of trace/],
  [['init', '--migrations-only', '--slot-only'], /exclude each other/],
  [['migrate', 'sideways'], /unknown command 'sideways'|too many arguments/],
  [[], /Usage: pgstream/],
])('the command line %j is refused with exit code 2', async (args, message) => {
  const { code, stdout, stderr } = await pgstream(args, 'postgres://me@127.0.0.1:1/db');
  expect(stderr).toMatch(message);
  expect(stderr).not.toMatch(/\n\s+at |node_modules/);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
});

const psqlVersion = await new Promise<string | undefined>((resolve) => {
  execFile('psql', ['--version'], (error, stdout) => resolve(error ? undefined : stdout));
});
if (!psqlVersion) console.warn('no psql on PATH: what psql shows of a refusal is not tested');

describe.runIf(psqlVersion)('psql shows what is wrong and what to do', () => {
  test.each([
    [`(url) values ('localhost')`, /ERROR: {2}the url is not/, /HINT: {2}Write it in full/],
    [
      `(url, event_types) values ('http://h', '{X}')`,
      /unknown event type "X"/,
      /HINT: {2}Event types/,
    ],
  ])('insert %s', async (values, message, hint) => {
    const { url } = await ownDatabase();
    const insert = `insert into pgstream.webhook_subscriptions ${values}`;
    const stderr = await new Promise<string>((resolve) => {
      execFile('psql', ['-X', url, '-c', insert], (_error, _stdout, text) => resolve(text));
    });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(hint);
  });
});
