import pg from 'pg';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/embedded/start.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { insertDelivery, insertSubscription, writeLease } from '../helpers/delivery-rows.js';
import { eventually } from '../helpers/poll.js';
import { createTemplate, databaseUrl, templateDatabase } from '../helpers/template.js';

let database: TestDatabase;
let sql: postgres.Sql;

beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());
afterEach(async () => {
  await sql`
    truncate pgstream.webhook_subscriptions, pgstream.webhook_deliveries,
             pgstream.subscription_state, pgstream.runner_lease`;
  await sql`
    select pg_drop_replication_slot(slot_name) from pg_replication_slots
    where database = current_database() and not temporary`;
});

/** A subscription whose changes the runner has passed. */
async function passedSubscription(row: Record<string, unknown> = {}): Promise<number> {
  const id = await insertSubscription(sql, row);
  await passChanges();
  return id;
}

const passChanges = () => sql`update pgstream.subscription_changes set commit_lsn = '0/1'`;

const writeState = (subscription: number, row: Record<string, unknown>) =>
  sql`insert into pgstream.subscription_state ${sql({ subscription, ...row })}`;

async function webhookStatus(id: number): Promise<postgres.Row> {
  const [row] = await sql`select * from pgstream.webhook_status where id = ${id}`;
  return row!;
}

describe('webhook_status', () => {
  test('has one row a subscription, whatever is known of it', async () => {
    const id = await passedSubscription({ name: 'first', schema_name: 'a', table_name: 'b*' });
    await passedSubscription();
    const rows = await sql`select * from pgstream.webhook_status order by id`;
    expect(rows).toHaveLength(2);
    expect(rows[0]).toEqual({
      id: String(id),
      name: 'first',
      url: 'http://localhost/hook',
      schema_name: 'a',
      table_name: 'b*',
      state: 'healthy',
      enabled: true,
      disabled_reason: null,
      delivered: '0',
      pending: '0',
      dead: '0',
      dropped: '0',
      oldest_pending: null,
      spilled_bytes: '0',
      spill_quota: '10737418240',
      quota_used: '0.0',
      last_success_at: null,
      last_error: null,
      last_error_at: null,
      next_attempt_at: null,
      denied: '0',
      owner: 'postgres',
      header_names: [],
      evaluation_errors: '0',
    });
  });

  test('says what the runner has written', async () => {
    const id = await passedSubscription();
    const at = new Date('2026-01-02T03:04:05Z');
    const written = {
      state: 'retrying',
      delivered: '7',
      dropped: '3',
      last_success_at: at,
      last_error: 'HTTP 500',
      last_error_at: at,
      next_attempt_at: at,
    };
    await writeState(id, { ...written, in_memory: 4 });
    expect(await webhookStatus(id)).toMatchObject({ ...written, pending: '4' });
  });

  test('counts what waits and what is dead, each subscription its own', async () => {
    const id = await passedSubscription({ spill_quota: 30 });
    const other = await passedSubscription({ spill_quota: 0 });
    await writeState(id, { state: 'spilling', in_memory: 5 });
    await insertDelivery(sql, id, { committed_at: '2026-01-03 00:00+00', body: 'ü' });
    await insertDelivery(sql, id, { committed_at: '2026-01-02 00:00+00', body: 'abcdefgh' });
    const dead = { state: 'dead', committed_at: '2026-01-01 00:00+00', body: 'dead' };
    await insertDelivery(sql, id, dead);
    await insertDelivery(sql, other, dead);
    await insertDelivery(sql, other + 1, { body: 'of nobody' });
    expect(await webhookStatus(id)).toMatchObject({
      pending: '7',
      dead: '1',
      oldest_pending: new Date('2026-01-02T00:00:00Z'),
      spilled_bytes: '14',
      quota_used: '46.7',
    });
    expect(await webhookStatus(other)).toMatchObject({
      pending: '0',
      dead: '1',
      oldest_pending: null,
      spilled_bytes: '4',
      quota_used: null,
    });
    expect(await sql`select from pgstream.webhook_status`).toHaveLength(2);
  });

  describe('says of a subscription', () => {
    test('that it is starting until a runner has passed its last change', async () => {
      const id = await insertSubscription(sql);
      await writeState(id, { state: 'healthy' });
      expect(await webhookStatus(id)).toMatchObject({ state: 'starting' });
      await passChanges();
      expect(await webhookStatus(id)).toMatchObject({ state: 'healthy' });
      await sql`update pgstream.webhook_subscriptions set name = 'other' where id = ${id}`;
      expect(await webhookStatus(id)).toMatchObject({ state: 'starting' });
    });

    test('that it is paused, or disabled and why, before anything else', async () => {
      const paused = await insertSubscription(sql, { enabled: false });
      const reason = { enabled: false, disabled_reason: 'HTTP 410' };
      const disabled = await insertSubscription(sql, reason);
      await writeState(paused, { state: 'retrying' });
      await writeState(disabled, { state: 'retrying' });
      expect(await webhookStatus(paused)).toMatchObject({ state: 'paused', enabled: false });
      expect(await webhookStatus(disabled)).toMatchObject({ state: 'disabled', ...reason });
    });

    test.each(['healthy', 'retrying', 'spilling', 'denied', 'invalid'])(
      'that it is %s, as the runner says, whatever waits',
      async (state) => {
        const id = await passedSubscription();
        await writeState(id, { state });
        await insertDelivery(sql, id);
        expect(await webhookStatus(id)).toMatchObject({ state });
      },
    );

    test.each([{}, { state: 'paused' }])(
      'that it is spilling where rows wait and the runner has said no more than %j',
      async (said) => {
        const id = await passedSubscription();
        if (said.state) await writeState(id, said);
        await insertDelivery(sql, id, { state: 'dead' });
        expect(await webhookStatus(id)).toMatchObject({ state: 'healthy' });
        await insertDelivery(sql, id);
        expect(await webhookStatus(id)).toMatchObject({ state: 'spilling' });
      },
    );
  });

  test('reads the deliveries once, one subscription by the index, and no body', async () => {
    const id = await passedSubscription();
    for (let i = 0; i < 20; i++) await insertDelivery(sql, id, { body: noise(500_000) });
    await sql`analyze pgstream.webhook_deliveries`;
    const all = await plan('select * from pgstream.webhook_status');
    const scans = nodes(all).filter((node) => node['Relation Name'] === 'webhook_deliveries');
    expect(scans).toHaveLength(1);
    expect(scans[0]!['Actual Loops']).toBe(1);
    expect(blocks(all)).toBeLessThan(100);

    const one = await plan(`select * from pgstream.webhook_status where id = ${id}`, {
      enable_seqscan: 'off',
    });
    const [scan] = nodes(one).filter((node) => node['Relation Name'] === 'webhook_deliveries');
    expect(scan?.['Node Type']).toMatch(/Index|Bitmap/);
  });
});

interface PlanNode {
  Plans?: PlanNode[];
  [property: string]: unknown;
}

async function plan(query: string, connection: Record<string, string> = {}): Promise<PlanNode> {
  const own = postgres(database.url, { max: 1, connection });
  try {
    const [row] = await own.unsafe(`explain (analyze, buffers, format json) ${query}`);
    return (row!['QUERY PLAN'] as { Plan: PlanNode }[])[0]!.Plan;
  } finally {
    await own.end();
  }
}

const nodes = (root: PlanNode): PlanNode[] => [root, ...(root.Plans ?? []).flatMap(nodes)];

const blocks = (node: PlanNode) =>
  Number(node['Shared Hit Blocks']) + Number(node['Shared Read Blocks']);

/** Text that hardly compresses. */
function noise(length: number): string {
  let text = '';
  while (text.length < length) text += Math.random().toString(36).slice(2);
  return text.slice(0, length);
}

describe('replication_status', () => {
  const createSlot = async (name: string, plugin = 'pgoutput', temporary = false, by = sql) => {
    await by`select pg_create_logical_replication_slot(${name}, ${plugin}, ${temporary})`;
    return name;
  };
  const ourSlot = () => `pgstream_${database.name}_slot`;

  async function replicationStatus(): Promise<Map<string, postgres.Row>> {
    const rows = await sql`select * from pgstream.replication_status`;
    return new Map(rows.map((row) => [row['slot_name'] as string, row]));
  }
  const statusOf = async (slot: string) => (await replicationStatus()).get(slot);

  test('is empty where there is neither a lease nor a slot', async () => {
    expect(await replicationStatus()).toEqual(new Map());
  });

  test('has the slots of this database that are ours by name or by a lease', async () => {
    const other = await createDatabase();
    onTestFinished(() => other.drop());
    const leased = await createSlot(`mine_${database.name}`);
    await writeLease(sql, leased);
    const named = await createSlot(ourSlot());
    await createSlot(`theirs_${database.name}`);
    await createSlot(`pgstream_${database.name}_test`, 'test_decoding');
    await createSlot(`pgstream_${other.name}_slot`, 'pgoutput', false, other.sql);
    const session = postgres(database.url, { max: 1 });
    try {
      await createSlot(`pgstream_${database.name}_short`, 'pgoutput', true, session);
      expect([...(await replicationStatus()).keys()].sort()).toEqual([leased, named].sort());
    } finally {
      await session.end();
    }
  });

  test('says what lease and server know of a slot', async () => {
    const slot = await createSlot(ourSlot());
    const holder = { host: 'here', pid: 1 };
    await writeLease(sql, slot, { holder, heartbeat_at: new Date() });
    const status = await statusOf(slot);
    const [known] = await sql`select * from pg_replication_slots where slot_name = ${slot}`;
    expect(status).toMatchObject({
      state: 'streaming',
      problem: null,
      holder,
      heartbeat_at: expect.any(Date),
      active_pid: null,
      confirmed_lsn: known!['confirmed_flush_lsn'],
      wal_status: 'reserved',
      safe_wal_size: null,
    });
  });

  test.each([
    ['streaming', null],
    ['reconnecting', null],
    ['halted', 'the disk is full'],
    ['stopped', expect.stringContaining('pgstream run')],
  ])('says that the runner is %s while it is heard', async (state, problem) => {
    const slot = await createSlot(ourSlot());
    await writeLease(sql, slot, {
      state,
      problem: typeof problem === 'string' ? problem : null,
      heartbeat_at: new Date(),
    });
    expect(await statusOf(slot)).toMatchObject({ state, problem });
  });

  test.each([
    ['streaming', '2 s', 'streaming'],
    ['streaming', '3.1 s', 'silent'],
    ['halted', '1 h', 'silent'],
    ['stopped', '1 h', 'stopped'],
  ])('says of a %s one that was last heard %s ago that it is %s', async (state, ago, expected) => {
    const slot = await createSlot(ourSlot());
    await writeLease(sql, slot, { state });
    await sql`update pgstream.runner_lease set heartbeat_at = now() - ${ago}::interval`;
    expect(await statusOf(slot)).toMatchObject({ state: expected });
  });

  test('measures the silence by the clock, not from the start of the transaction', async () => {
    const slot = await createSlot(ourSlot());
    await sql.begin(async (tx) => {
      await tx`select pg_sleep(0.02)`;
      await writeLease(tx, slot);
      await tx`update pgstream.runner_lease set heartbeat_at = now() - interval '2.99 s'`;
      const [row] = await tx`select state from pgstream.replication_status`;
      expect(row).toEqual({ state: 'silent' });
    });
  });

  test('says that a slot without a lease is read by nobody', async () => {
    const slot = await createSlot(ourSlot());
    expect(await statusOf(slot)).toMatchObject({
      state: 'stopped',
      problem: expect.stringContaining('pgstream run'),
      holder: null,
      heartbeat_at: null,
    });
  });

  test('says that a slot is missing, what its runner says of it, and nothing of its log', async () => {
    await writeLease(sql, 'pgstream_gone');
    expect(await statusOf('pgstream_gone')).toMatchObject({
      state: 'missing',
      problem: expect.stringContaining('pgstream init'),
      confirmed_lsn: null,
      lag_bytes: null,
      lag_seconds: null,
      retained_bytes: null,
      wal_status: null,
    });
    await writeLease(sql, 'pgstream_gone', { problem: 'the slot was dropped' });
    expect(await statusOf('pgstream_gone')).toMatchObject({ problem: 'the slot was dropped' });
  });

  test('counts the log that is not confirmed, and the log that is kept', async () => {
    const slot = await createSlot(ourSlot());
    await writeLease(sql, slot);
    const before = await statusOf(slot);
    await sql`select pg_logical_emit_message(true, 'test', repeat('x', 100000))`;
    const after = await statusOf(slot);
    for (const bytes of ['lag_bytes', 'retained_bytes']) {
      expect(Number(after![bytes]) - Number(before![bytes])).toBeGreaterThanOrEqual(100_000);
    }
    expect(Number(after!['retained_bytes'])).toBeGreaterThan(Number(after!['lag_bytes']));

    await confirm(slot);
    expect(Number((await statusOf(slot))!['lag_bytes'])).toBeLessThan(100_000);
  });

  const confirm = (slot: string) =>
    sql`select pg_replication_slot_advance(${slot}, pg_current_wal_flush_lsn())`;

  test('tells the lag in seconds from what is confirmed, and none where all is', async () => {
    const slot = await createSlot(ourSlot());
    await writeLease(sql, slot, { confirmed_commit_at: new Date(Date.now() - 60_000) });
    const lag = async () => (await statusOf(slot))!['lag_seconds'] as string | null;
    expect(Number(await lag())).toBeGreaterThanOrEqual(60);
    expect(Number(await lag())).toBeLessThan(75);

    await eventually(async () => {
      await confirm(slot);
      expect(await statusOf(slot)).toMatchObject({ lag_bytes: '0', lag_seconds: '0' });
    });
    await writeLease(sql, slot, { confirmed_commit_at: new Date(Date.now() + 60_000) });
    expect(await lag()).toBe('0');
    await writeLease(sql, slot, { confirmed_commit_at: null });
    expect(await lag()).toBeNull();
  });

  test('says who is connected', async () => {
    const slot = await createSlot(ourSlot());
    const config = { connectionString: database.url, replication: 'database' };
    const client = new pg.Client(config);
    client.on('error', () => undefined);
    await client.connect();
    const options = `proto_version '1', publication_names 'none'`;
    client.query(`START_REPLICATION SLOT ${slot} LOGICAL 0/0 (${options})`).catch(() => undefined);
    const [backend] = await eventually(async () => {
      const rows = await sql`
        select r.active_pid, a.backend_type
        from pgstream.replication_status r join pg_stat_activity a on a.pid = r.active_pid`;
      return rows.length > 0 && [...rows];
    });
    expect(backend).toMatchObject({ backend_type: 'walsender' });
    await sql`select pg_terminate_backend(${backend!['active_pid'] as number})`;
    await eventually(async () => expect(await statusOf(slot)).toMatchObject({ active_pid: null }));
  });

  test('says that the server has removed log that a slot needs', async () => {
    const cluster = await startPostgres({
      major: Number(process.env['PGSTREAM_TEST_POSTGRES']) || undefined,
      settings: { max_slot_wal_keep_size: '1MB', max_wal_size: '32MB' },
    });
    onTestFinished(() => cluster.stop());
    await createTemplate(cluster.url);
    const admin = postgres(cluster.url, { max: 1 });
    onTestFinished(() => admin.end());
    await admin`create database lossy template ${admin(templateDatabase)}`;
    const own = postgres(databaseUrl(cluster.url, 'lossy'), { max: 1 });
    onTestFinished(() => own.end());

    const slot = await createSlot('pgstream_lossy_slot', 'pgoutput', false, own);
    await writeLease(own, slot);
    const [before] = await own`select * from pgstream.replication_status`;
    expect(before).toMatchObject({
      state: 'streaming',
      safe_wal_size: expect.stringMatching(/^\d/),
    });
    await eventually(async () => {
      await own`select pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()`;
      await own`checkpoint`;
      const [row] = await own`select * from pgstream.replication_status`;
      expect(row).toMatchObject({
        state: 'lost',
        wal_status: 'lost',
        problem: expect.stringContaining('drop the slot'),
      });
    });
  });
});

test('the views are for the owner and whom it grants them, without what is behind them', async () => {
  const role = `reader_${database.name}`;
  await sql.unsafe(`create role ${role}`);
  onTestFinished(async () => {
    await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
  });
  const id = await passedSubscription();
  const read = (view: string) =>
    sql.begin(async (tx) => {
      await tx.unsafe(`set local role ${role}`);
      return tx.unsafe(`select * from pgstream.${view}`);
    });
  const views = ['webhook_status', 'replication_status'];
  for (const view of views) await expect(read(view)).rejects.toMatchObject({ code: '42501' });
  await sql.unsafe(`grant usage on schema pgstream to ${role}`);
  for (const view of views) await expect(read(view)).rejects.toMatchObject({ code: '42501' });
  await sql.unsafe(
    `grant select on pgstream.webhook_status, pgstream.replication_status to ${role}`,
  );
  await writeLease(sql, 'pgstream_gone');
  expect(await read('webhook_status')).toEqual([]);
  await sql`select pgstream.grant_operator(${role})`;
  expect(await read('webhook_status')).toMatchObject([{ id: String(id) }]);
  expect(await read('replication_status')).toMatchObject([{ slot_name: 'pgstream_gone' }]);
  for (const table of ['webhook_subscriptions', 'webhook_deliveries', 'runner_lease']) {
    await expect(read(table)).rejects.toMatchObject({ code: '42501' });
  }
});
