import { writeFileSync } from 'node:fs';
import path from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { startPostgres, type RunningPostgres } from '../../src/embedded/start.js';
import { init } from '../../src/install/init.js';
import { ShortConnection } from '../../src/lease/connection.js';
import { findTrouble } from '../../src/lease/trouble.js';
import { parseLsn } from '../../src/replication/lsn.js';
import { readTimelines } from '../../src/replication/read-timelines.js';
import { timelineAt } from '../../src/replication/timelines.js';
import { resolveConnection } from '../../src/settings/connection.js';
import { eventually } from '../helpers/poll.js';
import { databaseUrl } from '../helpers/template.js';

let server: RunningPostgres;
beforeAll(async () => {
  server = await startPostgres({
    settings: { max_slot_wal_keep_size: '1MB', min_wal_size: '32MB', max_wal_size: '32MB' },
  });
});
afterAll(() => server.stop('immediate'));

const quiet = () => undefined;
let databases = 0;
let url: string;
let sql: postgres.Sql;
let slot: string;

function connect(to: string) {
  const connection = postgres(to, { max: 1, onnotice: quiet, fetch_types: false });
  onTestFinished(() => connection.end({ timeout: 0 }));
  return connection;
}

beforeEach(async () => {
  slot = `slot_${++databases}`;
  const admin = connect(server.url);
  await admin`create database ${admin(slot)}`;
  url = databaseUrl(server.url, slot);
  sql = connect(url);
  const connection = resolveConnection(url, {});
  await init({ connection, slotName: slot, parts: 'all', onStep: quiet, onWarning: quiet });
  onTestFinished(async () => {
    await sql`
      select pg_drop_replication_slot(slot_name) from pg_replication_slots
      where not active and database = current_database()`;
  });
});

const far = parseLsn('FFFFFFFF/0');
const [everything, nothing] = [() => far, () => 0n];

async function trouble({ confirmed = everything, received = nothing } = {}) {
  const session = new ShortConnection({
    connection: resolveConnection(url, {}),
    answerMs: 10_000,
    commit: 'off',
  });
  try {
    return await findTrouble(session.ask, slot, { confirmed, received });
  } finally {
    await session.end();
  }
}

const endOfLog = async () => {
  const [row] = await sql<{ end: string }[]>`select pg_current_wal_insert_lsn()::text as end`;
  return parseLsn(row!.end);
};

/** The slot's own position, read before anything moves it. */
const position = async () => {
  const [row] = await sql<{ at: string }[]>`
    select confirmed_flush_lsn::text as at from pg_replication_slots where slot_name = ${slot}`;
  return parseLsn(row!.at);
};

const insideLog = async () => ({ confirmed: await position(), end: await endOfLog() });

describe('a slot is in trouble', () => {
  test('not when all is well', async () => {
    const { confirmed, end } = await insideLog();
    expect(await trouble({ confirmed: () => confirmed, received: () => end })).toBeUndefined();
  });

  test('when it is dropped', async () => {
    await sql`select pg_drop_replication_slot(${slot})`;
    expect(await trouble()).toMatchObject({
      code: 'slot_missing',
      hint: `pgstream init --replication-slot ${slot}`,
    });
  });

  test('when it is of another plugin', async () => {
    await sql`select pg_drop_replication_slot(${slot})`;
    await sql`select pg_create_logical_replication_slot(${slot}, 'test_decoding')`;
    expect(await trouble()).toMatchObject({ code: 'slot_unusable' });
  });

  test('when it is of another database', async () => {
    await sql`select pg_drop_replication_slot(${slot})`;
    const elsewhere = connect(server.url);
    await elsewhere`select pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
    onTestFinished(async () => void (await elsewhere`select pg_drop_replication_slot(${slot})`));
    expect(await trouble()).toMatchObject({
      code: 'slot_unusable',
      message: expect.stringContaining('of database "postgres"'),
    });
  });

  test('when a publication is dropped', async () => {
    await sql`drop publication pgstream_update`;
    expect(await trouble()).toMatchObject({
      code: 'publication_missing',
      message: expect.stringMatching(/: pgstream_update$/),
      hint: expect.stringContaining(`pgstream init --replication-slot ${slot}`),
    });
  });

  test('when somebody else has advanced it', async () => {
    const confirmed = await position();
    await sql`select pg_logical_emit_message(true, 'test', '')`;
    await sql`select pg_replication_slot_advance(${slot}, pg_current_wal_flush_lsn())`;
    expect(await trouble({ confirmed: () => confirmed })).toMatchObject({ code: 'slot_moved' });
  });

  test('when the server does not have what was received from it', async () => {
    const end = await endOfLog();
    const received = () => end + (1n << 32n);
    expect(await trouble({ confirmed: () => end, received })).toMatchObject({
      code: 'server_behind',
      hint: expect.stringContaining(`pgstream init --replication-slot ${slot}`),
    });
  });

  test('when its log has been removed', async () => {
    // One segment of the log is 16 MB, and the slot may hold 1 MB.
    for (let segments = 0; segments < 3; segments++) {
      await sql`select pg_logical_emit_message(true, 'test', repeat('x', 1000))`;
      await sql`select pg_switch_wal()`;
    }
    await sql`checkpoint`;
    await eventually(async () => {
      expect(await trouble()).toMatchObject({
        code: 'slot_lost',
        hint: expect.stringContaining(`pg_drop_replication_slot('${slot}'); then pgstream init`),
      });
    });
  });
});

test('a server that becomes a stand-by and is promoted goes on in another timeline', async () => {
  const own = await startPostgres();
  onTestFinished(() => own.stop('immediate'));
  const admin = connect(own.url);
  await admin`create role replicator login replication`;
  const asReplicator = new URL(own.url);
  asReplicator.username = 'replicator';
  const connection = resolveConnection(asReplicator.href, {});
  const before = await readTimelines(connection);
  expect(before).toMatchObject({ current: 1, past: [] });

  writeFileSync(path.join(own.dataDir, 'standby.signal'), '');
  await own.restart();
  url = own.url;
  slot = 'none';
  expect(await trouble()).toMatchObject({
    code: 'in_recovery',
    hint: expect.stringContaining('select pg_promote();'),
  });

  await admin`select pg_promote()`;
  const after = await readTimelines(connection);
  expect(after).toMatchObject({ system: before.system, current: 2, past: [{ timeline: 1 }] });
  const [row] = await admin<{ at: string }[]>`select pg_current_wal_insert_lsn()::text as at`;
  expect(timelineAt(after, parseLsn(row!.at))).toBe(2);
  expect(timelineAt(after, after.past[0]!.end - 1n)).toBe(1);
});
