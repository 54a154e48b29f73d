import { spawn } from 'node:child_process';
import path from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { init } from '../../src/install/init.js';
import type { Report } from '../../src/lease/row.js';
import { waitForLease, type Leadership } from '../../src/lease/stand-by.js';
import type { Periods } from '../../src/lease/timing.js';
import { createLog } from '../../src/log.js';
import { formatLsn, parseLsn } from '../../src/replication/lsn.js';
import { openStream } from '../../src/replication/stream.js';
import { resolveConnection } from '../../src/settings/connection.js';
import type { Ask } from '../../src/lease/connection.js';
import { startPostgres } from '../../src/embedded/start.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { eventually } from '../helpers/poll.js';
import { startProxy } from '../helpers/proxy.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  await database.sql`create table written (text text)`;
});
afterAll(() => database.drop());

const log = createLog('error');
const quick: Partial<Periods> = {
  beatMs: 100,
  flushMs: 40,
  answerMs: 300,
  validMs: 900,
  silenceMs: 1_500,
  pollMs: 30,
  blockedMs: 100,
};
/** Nobody takes over for silence. */
const patient: Partial<Periods> = { ...quick, silenceMs: 3_600_000 };
let slots = 0;

async function newSlot(): Promise<string> {
  const slot = `lease_${++slots}`;
  const warnings = await initialise(slot);
  expect(warnings).toEqual([]);
  return slot;
}

/** Runs init; resolves with its warnings. */
async function initialise(slotName: string, acceptGap?: boolean): Promise<string[]> {
  const warnings: string[] = [];
  const connection = resolveConnection(database.url, {});
  const onWarning = (text: string) => void warnings.push(text);
  const accept = acceptGap === undefined ? {} : { acceptGap };
  const onStep = () => undefined;
  await init({ connection, slotName, parts: 'slot', ...accept, onStep, onWarning });
  return warnings;
}

interface StandBy {
  url?: string;
  periods?: Partial<Periods>;
  report?: () => Report;
  signal?: AbortSignal;
}

const starting: Report = { confirmed: undefined, state: 'starting' };

function standBy(slotName: string, options: StandBy = {}): Promise<Leadership> {
  const { url = database.url, periods = quick, report = () => starting } = options;
  const finished = new AbortController();
  const waiting = waitForLease({
    connection: resolveConnection(url, {}),
    slotName,
    report,
    log,
    signal: options.signal ?? finished.signal,
    periods,
  });
  onTestFinished(async () => {
    finished.abort();
    await waiting.then(
      ({ lease }) => lease.release().catch(() => undefined),
      () => undefined,
    );
  });
  return waiting;
}

const leaseRow = async (slot: string) => {
  const [row] = await database.sql<{ epoch: string; state: string; holder: unknown }[]>`
    select epoch, state, holder from pgstream.runner_lease where slot_name = ${slot}`;
  return row;
};

const never = new AbortController().signal;

test('of two runners one leads, and the other one follows when the lease is released', async () => {
  const slot = await newSlot();
  const { lease } = await standBy(slot, { periods: patient });
  expect(lease.isValid).toBe(true);
  expect(await leaseRow(slot)).toMatchObject({ epoch: '1', holder: { pid: process.pid } });

  const second = standBy(slot, { periods: patient });
  await lease.release();
  expect(lease.isValid).toBe(false);
  expect((await second).lease.epoch).toBe(2n);
  expect(lease.fenced.aborted).toBe(false);
});

test('a released lease names nobody', async () => {
  const slot = await newSlot();
  const { lease } = await standBy(slot);
  await lease.release();
  expect(await leaseRow(slot)).toEqual({ epoch: '1', state: 'stopped', holder: null });
});

test('of many that stand by each leads once, and never two at a time', async () => {
  const slot = await newSlot();
  let leading = 0;
  const epochs: bigint[] = [];
  const lead = async () => {
    const { lease } = await standBy(slot, { periods: patient });
    expect(++leading).toBe(1);
    epochs.push(lease.epoch);
    leading--;
    await lease.release();
  };
  await Promise.all(Array.from({ length: 5 }, lead));
  expect(epochs).toEqual([1n, 2n, 3n, 4n, 5n]);
});

test('heartbeats tell of state and problem', async () => {
  const slot = await newSlot();
  const report: Report = { confirmed: undefined, state: 'halted', problem: 'the disk is full' };
  await standBy(slot, { report: () => report });
  await eventually(async () => {
    const [row] = await database.sql`
      select state, problem from pgstream.runner_lease where slot_name = ${slot}`;
    expect(row).toEqual({ state: 'halted', problem: 'the disk is full' });
  });
});

test('a tenure that a failover has undone is not that of the next leader of its epoch', async () => {
  const slot = await newSlot();
  const { lease } = await standBy(slot, { periods: patient });
  const { epoch } = lease;
  await database.sql`
    update pgstream.runner_lease set holder = jsonb_set(holder, '{id}', '"another"')
    where slot_name = ${slot} and epoch = ${String(epoch)}::bigint`;
  await eventually(() => lease.fenced.aborted);
});

describe('a leader that is cut off', () => {
  test('stops by itself before another one leads, and is fenced when it comes back', async () => {
    const slot = await newSlot();
    const proxy = await startProxy(database.url);
    const first = await standBy(slot, { url: proxy.url });
    const both: boolean[] = [];
    let second: Leadership | undefined;
    const taking = standBy(slot).then((taken) => (second = taken));
    const watch = setInterval(() => both.push(first.lease.isValid && second !== undefined), 5);
    onTestFinished(() => clearInterval(watch));

    proxy.freeze('all');
    await taking;
    expect(first.lease.isValid).toBe(false);
    expect(first.lease.fenced.aborted).toBe(false);
    proxy.thaw();
    await eventually(() => first.lease.fenced.aborted);
    expect(first.lease.fenced.reason).toMatchObject({ code: 'fenced' });
    await expect(first.lease.whenValid(never)).rejects.toMatchObject({ code: 'fenced' });
    expect(second?.lease.isValid).toBe(true);
    expect(both).not.toContain(true);
  });

  test('goes on when it comes back in time', async () => {
    const slot = await newSlot();
    const proxy = await startProxy(database.url);
    const { lease } = await standBy(slot, { url: proxy.url, periods: patient });
    proxy.freeze('all');
    await eventually(() => !lease.isValid);
    const again = lease.whenValid(never);
    proxy.thaw();
    await again;
    expect(lease.isValid).toBe(true);
  });

  test('by one connection alone makes itself another one', async () => {
    const slot = await newSlot();
    const proxy = await startProxy(database.url);
    const { lease } = await standBy(slot, { url: proxy.url, periods: patient });
    proxy.freeze('present');
    const heartbeat = async () => {
      const [row] = await database.sql<{ at: string }[]>`
        select heartbeat_at::text as at from pgstream.runner_lease where slot_name = ${slot}`;
      return row!.at;
    };
    const last = await heartbeat();
    await eventually(async () => (await heartbeat()) !== last);
    expect(lease.fenced.aborted).toBe(false);
  });
});

describe('a holder that is a process of this host', () => {
  /** Takes the lease in a process of its own, whose standard output tells how it fares. */
  function startHolder(slotName: string) {
    const module = path.resolve(import.meta.dirname, '../../dist');
    const script = `
      import { waitForLease } from ${JSON.stringify(`${module}/lease/stand-by.js`)};
      import { createLog } from ${JSON.stringify(`${module}/log.js`)};
      import { resolveConnection } from ${JSON.stringify(`${module}/settings/connection.js`)};
      const { lease } = await waitForLease({
        connection: resolveConnection(${JSON.stringify(database.url)}, {}),
        slotName: ${JSON.stringify(slotName)},
        report: () => ({ confirmed: undefined, state: 'starting' }),
        log: createLog('error'),
        signal: new AbortController().signal,
        periods: ${JSON.stringify(quick)},
      });
      let last;
      setInterval(() => {
        const is = lease.fenced.aborted ? 'fenced' : lease.isValid ? 'valid' : 'invalid';
        if (is !== last) console.log((last = is));
      }, 1);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const states: string[] = [];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      states.push(...text.trim().split('\n'));
    });
    return { child, states };
  }

  test.runIf(process.platform === 'linux')('is not waited for when it was killed', async () => {
    const slot = await newSlot();
    const { child, states } = startHolder(slot);
    await eventually(() => states.includes('valid'));
    const second = standBy(slot, { periods: patient });
    child.kill('SIGKILL');
    expect((await second).lease.epoch).toBe(2n);
  });

  test('knows that its time is over when it was stopped and goes on', async () => {
    const slot = await newSlot();
    const { child, states } = startHolder(slot);
    await eventually(() => states.includes('valid'));
    child.kill('SIGSTOP');
    await standBy(slot);
    const before = states.length;
    child.kill('SIGCONT');
    await eventually(() => states.includes('fenced'));
    expect(states.slice(before)).not.toContain('valid');
  });
});

describe('a write of a runner that has been replaced', () => {
  const write = (sql: postgres.ISql, text: string) => sql`insert into written values (${text})`;

  const askIn =
    (sql: postgres.TransactionSql): Ask =>
    async <Row extends object>(text: string, values: readonly (string | null)[] = []) => [
      ...(await sql.unsafe<Row[]>(text, [...values])),
    ];

  const written = async (text: string) =>
    (await database.sql`select from written where text = ${text}`).length;

  /** The connections of the runner's own writes, as one that is stopped leaves them. */
  function pool() {
    const sql = postgres(database.url, { max: 2, fetch_types: false, onnotice: () => undefined });
    onTestFinished(() => sql.end({ timeout: 0 }));
    return sql;
  }

  test('is refused', async () => {
    const slot = await newSlot();
    const sql = pool();
    const { lease } = await standBy(slot);
    const inTransaction = (text: string) =>
      sql.begin(async (transaction) => {
        await lease.fence(askIn(transaction));
        await write(transaction, text);
      });
    await inTransaction('before');
    await lease.release();
    await standBy(slot);
    await expect(inTransaction('after')).rejects.toMatchObject({ code: 'fenced' });
    expect(await written('before')).toBe(1);
    expect(await written('after')).toBe(0);
  });

  test('is undone when its transaction began before and is still open', async () => {
    const slot = await newSlot();
    const sql = pool();
    const proxy = await startProxy(database.url);
    const { lease } = await standBy(slot, { url: proxy.url });
    let fenced = (): void => undefined;
    const isFenced = new Promise<void>((resolve) => (fenced = resolve));
    const writing = sql.begin(async (transaction) => {
      await lease.fence(askIn(transaction));
      await write(transaction, 'open');
      fenced();
      // The driver ends the whole process when a transaction goes on whose connection is gone.
      await new Promise(() => undefined);
    });
    writing.catch(() => undefined);
    await isFenced;
    proxy.freeze('all');
    const second = await standBy(slot);
    await expect(writing).rejects.toMatchObject({ code: expect.stringMatching(/57P01|CLOSED/) });
    expect(second.lease.isValid).toBe(true);
    expect(await written('open')).toBe(0);
  });

  test('is refused when its transaction began before and looks afterwards', async () => {
    const slot = await newSlot();
    const sql = pool();
    const { lease } = await standBy(slot);
    const writing = sql.begin(async (transaction) => {
      await write(transaction, 'late');
      await lease.release();
      await standBy(slot);
      await lease.fence(askIn(transaction));
    });
    await expect(writing).rejects.toMatchObject({ code: 'fenced' });
    expect(await written('late')).toBe(0);
  });
});

describe('whoever reads the slot', () => {
  test('is ended by the one that takes it over', async () => {
    const slot = await newSlot();
    const old = await openStream({
      connection: resolveConnection(database.url, {}),
      slot,
      plugin: { proto_version: '1', publication_names: 'pgstream_control' },
      startLsn: 0n,
      confirmed: () => 0n,
    });
    const reading = (async () => {
      for await (const _ of old.batches(never));
    })();
    reading.catch(() => undefined);
    await standBy(slot);
    await expect(reading).rejects.toMatchObject({ code: '57P01' });
    const [row] = await database.sql`
      select active from pg_replication_slots where slot_name = ${slot}`;
    expect(row).toEqual({ active: false });
  });

  test('is named when it may not be ended', async () => {
    const slot = await newSlot();
    const { sql } = database;
    await sql`create role limited login replication`;
    onTestFinished(async () => {
      await sql`drop owned by limited`;
      await sql`drop role limited`;
    });
    await sql`grant usage on schema pgstream to limited`;
    await sql`grant select, insert, update on pgstream.runner_lease to limited`;
    const stream = await openStream({
      connection: resolveConnection(database.url, {}),
      slot,
      plugin: { proto_version: '1', publication_names: 'pgstream_control' },
      startLsn: 0n,
      confirmed: () => 0n,
    });
    onTestFinished(() => stream.close());
    const url = new URL(database.url);
    url.username = 'limited';
    await expect(standBy(slot, { url: url.href })).rejects.toMatchObject({
      code: '55006',
      message: expect.stringContaining('may not be ended'),
      hint: expect.stringContaining('grant "postgres" to "limited"'),
    });
    expect(await leaseRow(slot)).toMatchObject({ state: 'stopped' });
    await stream.close();
    expect((await standBy(slot, { url: url.href })).lease.isValid).toBe(true);
  });
});

describe('a slot that was moved by somebody else', () => {
  const endOfLog = async () => {
    const [row] = await database.sql<{ end: string }[]>`
      select pg_logical_emit_message(false, 'test', ''), pg_current_wal_flush_lsn()::text as end`;
    return parseLsn(row!.end);
  };

  /** Leads for as long as it takes to put a position on record, which is returned. */
  async function leadOnce(slot: string) {
    let confirmed: bigint | undefined;
    const { lease, position } = await standBy(slot, {
      report: () => ({ confirmed, state: 'streaming' }),
    });
    confirmed = position;
    await lease.settle();
    await lease.release();
    return formatLsn(position);
  }

  const positionOf = async (slot: string) => {
    const [row] = await database.sql<{ position: string }[]>`
      select confirmed_flush_lsn::text as position from pg_replication_slots
      where slot_name = ${slot}`;
    return row!.position;
  };

  test.each([
    [
      'advanced',
      async (slot: string) =>
        database.sql`
          select pg_replication_slot_advance(${slot}, ${formatLsn(await endOfLog())}::pg_lsn)`,
    ],
    [
      'dropped and made anew',
      async (slot: string) => {
        await database.sql`select pg_drop_replication_slot(${slot})`;
        await endOfLog();
        await database.sql`select pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
      },
    ],
  ])('is not read before init accepts the gap: %s', async (_, move) => {
    const slot = await newSlot();
    const recorded = await leadOnce(slot);
    await endOfLog();
    await move(slot);
    const position = await positionOf(slot);
    await expect(standBy(slot)).rejects.toMatchObject({
      code: 'slot_moved',
      message: expect.stringContaining(`between ${recorded} and ${position} was not delivered`),
      hint: expect.stringContaining(`pgstream init --replication-slot ${slot}`),
    });
    expect(await leaseRow(slot)).toMatchObject({ state: 'stopped', holder: null });

    expect(await initialise(slot, false)).toEqual([]);
    await expect(standBy(slot)).rejects.toMatchObject({ code: 'slot_moved' });
    expect(await initialise(slot)).toEqual([
      expect.stringContaining(`between ${recorded} and there is not delivered`),
    ]);
    expect(await initialise(slot)).toEqual([]);
    expect(formatLsn((await standBy(slot)).position)).toBe(position);
  });

  test('is not read from a position in the log of another server before init accepts that', async () => {
    const slot = await newSlot();
    await leadOnce(slot);
    const position = await positionOf(slot);
    const beyond = formatLsn(await endOfLog());
    await database.sql`
      update pgstream.runner_lease set system_identifier = 1, confirmed_lsn = ${beyond}::pg_lsn
      where slot_name = ${slot}`;
    for (let i = 0; i < 2; i++) {
      await expect(standBy(slot)).rejects.toMatchObject({
        code: 'other_server',
        hint: expect.stringContaining(`pgstream init --replication-slot ${slot}`),
      });
    }
    expect(await initialise(slot)).toEqual([expect.stringContaining(`goes on from ${position}`)]);
    expect(await initialise(slot)).toEqual([]);
    expect(formatLsn((await standBy(slot)).position)).toBe(position);
  });

  test('is read where a record was begun without a position on another server', async () => {
    const slot = await newSlot();
    await database.sql`
      insert into pgstream.runner_lease (slot_name, system_identifier) values (${slot}, 1)`;
    await leadOnce(slot);
    await standBy(slot);
  });

  test('is told of by the init that makes another one in place of a lost one', async () => {
    const slot = await newSlot();
    const recorded = await leadOnce(slot);
    await database.sql`select pg_drop_replication_slot(${slot})`;
    await endOfLog();
    expect(await initialise(slot)).toEqual([
      expect.stringContaining(`between ${recorded} and there is not delivered`),
    ]);
    await standBy(slot);
  });

  test('is noticed by the runner that reads it', async () => {
    const slot = await newSlot();
    const { lease, position } = await standBy(slot);
    expect(await lease.findTrouble(() => position)).toBeUndefined();
    const end = formatLsn(await endOfLog());
    await database.sql`select pg_replication_slot_advance(${slot}, ${end}::pg_lsn)`;
    expect(await lease.findTrouble(() => position)).toMatchObject({ code: 'slot_moved' });
  });

  test('is not suspected while its runner confirms', async () => {
    const slot = await newSlot();
    let confirmed: bigint | undefined;
    const { lease } = await standBy(slot, {
      report: () => ({ confirmed, state: 'streaming' }),
    });
    confirmed = await endOfLog();
    await eventually(() => lease.confirmed === confirmed);
    const at = formatLsn(confirmed);
    await database.sql`select pg_replication_slot_advance(${slot}, ${at}::pg_lsn)`;
    await lease.release();
    expect(await initialise(slot)).toEqual([]);
    expect(formatLsn((await standBy(slot)).position)).toBe(await positionOf(slot));
  });
});

test('what may be confirmed is still on record after a crash of the server', async () => {
  const server = await startPostgres({ settings: { wal_writer_delay: '200ms' } });
  onTestFinished(() => server.stop('immediate'));
  const connection = resolveConnection(server.url, {});
  const quiet = () => undefined;
  await init({ connection, slotName: 'crash', parts: 'all', onStep: quiet, onWarning: quiet });
  const sql = postgres(server.url, { max: 1, fetch_types: false, onnotice: quiet });
  onTestFinished(() => sql.end({ timeout: 0 }));
  const proxy = await startProxy(server.url);
  let confirmed: bigint | undefined;
  const { lease, position } = await standBy('crash', {
    url: proxy.url,
    periods: { ...quick, silenceMs: 3_600_000, beatMs: 10, flushMs: 5 },
    report: () => ({
      confirmed: confirmed === undefined ? undefined : (confirmed += 1n),
      state: 'streaming',
    }),
  });
  confirmed = position;
  for (let round = 0; round < 5; round++) {
    const before = lease.confirmed;
    await eventually(() => lease.confirmed > before + 3n);
    await server.crash();
    const mayBeAt = lease.confirmed;
    proxy.freeze('all'); // what is on record must not have been written again
    await server.restart();
    const record = await eventually(async () => {
      const [row] = await sql<{ record: string }[]>`
        select confirmed_lsn::text as record from pgstream.runner_lease`;
      return row!.record;
    });
    expect(parseLsn(record)).toBeGreaterThanOrEqual(mayBeAt);
    proxy.thaw();
  }
});

test('a record that is older than it was for good is left as it is, for the server was restored', async () => {
  const slot = await newSlot();
  const { sql } = database;
  let confirmed: bigint | undefined;
  const { lease, position } = await standBy(slot, {
    periods: { ...quick, silenceMs: 3_600_000, beatMs: 10, flushMs: 5 },
    report: () => ({
      confirmed: confirmed === undefined ? undefined : (confirmed += 1n),
      state: 'streaming',
    }),
  });
  confirmed = position;
  await eventually(() => lease.confirmed > position + 3n);
  expect(await lease.findTrouble(() => 0n)).toBeUndefined();
  const older = formatLsn(position + 1n);
  await sql`
    update pgstream.runner_lease set confirmed_lsn = ${older}::pg_lsn
    where slot_name = ${slot}`;
  await eventually(async () => {
    expect(await lease.findTrouble(() => 0n)).toMatchObject({ code: 'server_behind' });
  });
  const [row] = await sql`
    select confirmed_lsn::text as record from pgstream.runner_lease where slot_name = ${slot}`;
  expect(row!['record']).toBe(older);
});
