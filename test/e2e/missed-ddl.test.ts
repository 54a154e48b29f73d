/**
 * Of two open transactions, one renames a type and the other makes a column of it: neither sees what
 * the other does, so that no event trigger can tell. The runner finds it, whichever way it works.
 */
import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test, vi } from 'vitest';
import { Reconciler } from '../../src/source/reconcile.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startRunner } from '../helpers/runner.js';
import { differences, expectLogInStep } from '../helpers/schema-log.js';

async function setUp(): Promise<TestDatabase> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  await database.sql.unsafe(`create schema types; create type types.mood as enum ('ok')`);
  return database;
}

async function start({ url }: TestDatabase, interval: string): Promise<void> {
  const runner = startRunner(['run', '--init'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      PGSTREAM_SCHEMA_RECONCILE_INTERVAL: interval,
    },
  });
  onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
  await runner.waitForLog(/"streaming"/);
}

function session({ url }: TestDatabase): postgres.Sql {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => sql.end({ timeout: 0 }));
  return sql;
}

async function missRename(database: TestDatabase): Promise<void> {
  const [renaming, making] = [session(database), session(database)];
  await renaming.unsafe('begin; alter type types.mood rename to feeling');
  await making.unsafe('begin; create table t (id integer primary key, m types.mood)');
  await making.unsafe('commit');
  await renaming.unsafe('commit');
}

test('when it starts', async () => {
  const database = await setUp();
  await missRename(database);
  expect(await differences(database.sql)).toHaveLength(1);
  await start(database, '1h');
  await eventually(() => expectLogInStep(database.sql), patience);
});

test('when it looks, without event triggers', async () => {
  const database = await setUp();
  await start(database, '100ms');
  await database.sql`select pgstream.disable_ddl_capture()`;
  await missRename(database);
  await eventually(() => expectLogInStep(database.sql), patience);
});

test('when it looks every five minutes, with event triggers', async () => {
  const database = await setUp();
  const { sql } = database;
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] });
  onTestFinished(() => void vi.useRealTimers());
  const failed = vi.fn<(error: unknown) => void>();
  let looks = 0;
  const reconciler = new Reconciler({
    sql,
    everyMs: 10_000,
    keepTrying: async (work) => {
      await work();
      looks++;
    },
    failed,
  });
  onTestFinished(() => reconciler.close());

  reconciler.now();
  await eventually(() => looks === 1);
  await missRename(database);
  expect(await differences(sql)).toHaveLength(1);
  vi.advanceTimersByTime(5 * 60_000);
  await eventually(() => expectLogInStep(sql), patience);
  expect(failed).not.toHaveBeenCalled();
});
