import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Finding } from '../../src/check/finding.js';
import { createLog } from '../../src/log.js';
import { waitForLease } from '../../src/lease/stand-by.js';
import { resolveConnection } from '../../src/settings/connection.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { startRunner } from '../helpers/runner.js';

let database: TestDatabase;
let slot: string;
beforeEach(async () => {
  database = await createDatabase();
  slot = `pgstream_${database.name}_slot`;
});
afterEach(() => database.drop());

async function run(...args: string[]) {
  const runner = startRunner([...args, '--pgurl', database.url]);
  const { code } = await runner.exited;
  return { code, stdout: runner.stdout, stderr: runner.stderr };
}

/** The findings beside those of the server that the tests run on. */
async function check() {
  const { code, stdout } = await run('check', '--json');
  const { healthy, findings } = JSON.parse(stdout) as { healthy: boolean; findings: Finding[] };
  expect(code).toBe(healthy ? 0 : 3);
  return findings.filter((finding) => finding.code !== 'old_minor');
}

const codes = async () => (await check()).map(({ code }) => code);

/** Leads, as a runner does. */
async function lead(problem?: string) {
  const { lease } = await waitForLease({
    connection: resolveConnection(database.url, {}),
    slotName: slot,
    report: () => ({ confirmed: undefined, state: problem ? 'halted' : 'streaming', problem }),
    log: createLog('error'),
    signal: new AbortController().signal,
  });
  await lease.settle();
  return lease;
}

test('names each step that is missing between nothing and a runner', async () => {
  expect(await check()).toEqual([
    expect.objectContaining({
      code: 'slot_missing',
      next: `pgstream init --replication-slot ${slot}`,
    }),
    expect.objectContaining({ code: 'publication_missing' }),
    expect.objectContaining({
      code: 'no_runner',
      next: `pgstream run --replication-slot ${slot}`,
    }),
  ]);
  await run('init');
  expect(await codes()).toEqual(['no_runner']);
  const lease = await lead();
  expect(await codes()).toEqual([]);
  await lease.release();
  expect(await codes()).toEqual(['no_runner']);
});

test('tells of a database without pgstream, or with an older one', async () => {
  await database.sql`delete from pgstream.migrations where name = '0005_runner_lease'`;
  expect(await check()).toEqual([
    expect.objectContaining({ code: 'pending_migrations', next: 'pgstream migrate up' }),
  ]);
  await database.sql`drop schema pgstream cascade`;
  expect(await check()).toEqual([
    expect.objectContaining({ code: 'not_installed', next: 'pgstream init' }),
  ]);
});

test('names the tables whose changes do not all arrive, with what to type', async () => {
  await run('init');
  const lease = await lead();
  const { sql } = database;
  await sql.unsafe(`
    create table plain (n integer);
    create table "Odd name" (n integer) partition by range (n);
    create table part partition of "Odd name" default;
    create table keyed (n integer primary key);
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name, event_types)
    values ('http://localhost/hook', 'public', '', '{I,U,D}');`);
  const found = await check();
  expect(found.map(({ code }) => code)).toEqual(['no_replica_identity', 'no_replica_identity']);
  expect(found.map(({ next }) => next)).toEqual([
    'alter table public.part replica identity full; ' +
      'alter table public."Odd name" replica identity full;',
    'alter table public.plain replica identity full;',
  ]);
  // What it says is what helps.
  for (const { next } of found) await sql.unsafe(next);
  expect(await codes()).toEqual([]);

  await sql`alter publication pgstream_insert drop table keyed`;
  await sql`
    insert into pgstream.ddl_error (command_tag, sqlstate, message)
    values ('ALTER TABLE', '55P03', 'the schema log is locked')`;
  const broken = await check();
  expect(broken.map(({ code }) => code)).toEqual(['ddl_error', 'not_published']);
  expect(broken[0]!.what).toContain('ALTER TABLE: the schema log is locked');
  for (const { next } of broken) await sql.unsafe(next);
  expect(await codes()).toEqual([]);
  await lease.release();
});

test('tells of the one case in which an update fails because of us', async () => {
  await run('init');
  const lease = await lead();
  const { sql } = database;
  await sql`select pgstream.disable_ddl_capture(upkeep => true)`;
  expect(await check()).toEqual([
    expect.objectContaining({
      severity: 'notice',
      code: 'no_upkeep',
      what: expect.stringContaining('loses its replica identity fail'),
      next: expect.stringContaining(`set_updates_without_upkeep('skip')`),
    }),
  ]);
  await sql`select pgstream.enable_ddl_capture()`;
  expect(await codes()).toEqual([]);
  await lease.release();
});

test('tells why a runner is halted', async () => {
  await run('init');
  const lease = await lead('the spill quota is used up');
  expect(await check()).toEqual([
    expect.objectContaining({
      code: 'runner_halted',
      what: expect.stringContaining('the spill quota is used up'),
    }),
  ]);
  await lease.release();
});

test('prints for people, and everything on stdout', async () => {
  const { code, stdout, stderr } = await run('check');
  expect(code).toBe(3);
  expect(stdout).toMatch(/^ERROR {4}replication slot ".*" does not exist\n {9}pgstream init /);
  expect(stderr).toBe('');
});

test('exits with code 4 when the database cannot be reached', async () => {
  const runner = startRunner(['check', '--pgurl', 'postgres://postgres@127.0.0.1:1/postgres']);
  expect(await runner.exited).toEqual({ code: 4, signal: null });
  expect(runner.stderr).toContain('nothing listens there');
});

test('says who evaluates filters, and which of them do not fit their table any more', async () => {
  await run('init');
  const lease = await lead();
  const { sql, name } = database;
  await sql`create table item (id integer primary key, n integer)`;
  await sql`
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name, filter)
    values ('http://localhost/', 'public', 'item', 'new.n > 1')`;
  expect(await codes()).toEqual(['no_evaluator']);
  await sql`alter table item drop column n`;
  expect(await codes()).toEqual(['invalid_expression', 'no_evaluator']);
  await sql`alter table item add column n integer`;

  const evaluate = async (login: string) => {
    const url = new URL(database.url);
    url.username = login;
    const runner = startRunner(['check', '--json', '--pgurl', database.url], {
      env: { PGSTREAM_EVALUATOR_URL: url.href },
    });
    await runner.exited;
    const { findings } = JSON.parse(runner.stdout) as { findings: Finding[] };
    return findings.map(({ code }) => code).filter((code) => code !== 'old_minor');
  };
  const role = `eval_${name}`;
  await sql.unsafe(`create role ${role} login`);
  try {
    expect(await evaluate(role)).toEqual([]);
    expect(await evaluate(new URL(database.url).username)).toEqual(['mighty_evaluator']);
  } finally {
    await sql.unsafe(`drop role ${role}`);
    await lease.release();
  }
});
