import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { runDdlLoad } from '../helpers/ddl-load.js';
import { expectLogInStep } from '../helpers/schema-log.js';

/** DDL_SESSIONS asks for more: 200 take minutes. */
const sessions = Number(process.env['DDL_SESSIONS'] ?? 20);
const seed = Number(process.env['DDL_SEED'] ?? Date.now() % 100_000);

async function newDatabase(): Promise<TestDatabase> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return database;
}

function session({ url }: TestDatabase): postgres.Sql {
  const own = postgres(url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => own.end({ timeout: 0 }));
  return own;
}

test(
  `no statement of ${sessions} sessions fails because of us (seed ${seed})`,
  async () => {
    const database = await newDatabase();
    const { sql, url } = database;
    await sql.unsafe(`create schema s1; create schema s2; create schema s3;
      create type s1.mood as enum ('ok')`);
    const holder = session(database);
    await holder.unsafe('begin; create table s2.held ()');
    const half = Math.ceil(sessions / 2);
    const load = (from: number, to: number) =>
      runDdlLoad({ url, from, sessions: to - from, statements: 24, seed });
    const [first, second] = [load(0, half), load(half, sessions)];
    expect(await first).toEqual([]);
    await holder.unsafe('commit');
    expect(await second).toEqual([]);

    await sql`select * from pgstream.reconcile()`;
    await expectLogInStep(sql);
    expect(await sql`select from pgstream.ddl_error where reconciled_at is null`).toHaveLength(0);
    expect(await sql`select * from pgstream.reconcile()`).toHaveLength(0);
  },
  sessions * 5_000,
);

test('who waits for the log in vain is never the victim of a deadlock', async () => {
  const database = await newDatabase();
  const [one, other] = [session(database), session(database)];
  await one.unsafe('create table contested ()');
  await other.unsafe(`set pgstream.lock_timeout = '3s'; set deadlock_timeout = '100ms'`);
  await one.unsafe(`set deadlock_timeout = '100ms'; begin; create table a ()`);
  await other.unsafe('begin; lock table contested');
  // one waits for the table of other, who waits for the log that one holds
  await Promise.all([
    one.unsafe('alter table contested add column x int; commit'),
    other.unsafe('create table b (); commit'),
  ]);
  const gaps = await one`select command_tag, sqlstate from pgstream.ddl_error`;
  expect([...gaps]).toEqual([{ command_tag: 'CREATE TABLE', sqlstate: '55P03' }]);
  await one`select * from pgstream.reconcile()`;
  await expectLogInStep(one);
});

test('a transaction waits for the log once, however many statements it has', async () => {
  const database = await newDatabase();
  const [holder, other] = [session(database), session(database)];
  await holder.unsafe('begin; create table a ()');
  await other.unsafe(`set pgstream.lock_timeout = '50ms'; begin; create table b ()`);
  await other.unsafe(`set pgstream.lock_timeout = '1h'; create table c (); commit`);
  await holder.unsafe('commit');
  expect(await holder`select from pgstream.ddl_error`).toHaveLength(2);
  await holder`select * from pgstream.reconcile()`;
  await expectLogInStep(holder);
});

test('no row of ours is waited for while somebody has locked our tables', async () => {
  const database = await newDatabase();
  const [holder, other] = [session(database), session(database)];
  await other.unsafe(`set pgstream.lock_timeout = '50ms'`);
  for (const table of ['schema_log', 'schema_objects', 'table_ids', 'ddl_error']) {
    await holder.unsafe(`begin; lock table pgstream.${table} in share mode`);
    await other.unsafe(`create table t_${table} (id int)`);
    await holder.unsafe('commit');
  }
  await holder`select * from pgstream.reconcile()`;
  await expectLogInStep(holder);
});
