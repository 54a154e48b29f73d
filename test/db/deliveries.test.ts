import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { insertDelivery, insertSubscription, writeLease } from '../helpers/delivery-rows.js';
import { eventually } from '../helpers/poll.js';

let database: TestDatabase;
let sql: postgres.Sql;
let slot: string;

beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
  slot = `pgstream_${database.name}_slot`;
  await sql`select pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
});
afterAll(() => database.drop());
afterEach(async () => {
  await sql`
    truncate pgstream.webhook_subscriptions, pgstream.webhook_deliveries,
             pgstream.subscription_state, pgstream.runner_lease`;
});

/** A connection of its own; what the server says of its doings is in `notices`. */
function session() {
  const notices: postgres.Notice[] = [];
  const onnotice = (notice: postgres.Notice) => void notices.push(notice);
  const own = postgres(database.url, { max: 1, onnotice });
  onTestFinished(() => own.end({ timeout: 0 }));
  return { own, notices };
}

const deliveries = () => sql`
  select webhook_id, state, replayed, attempts, active_for::text
  from pgstream.webhook_deliveries order by ordinal`;

describe('replay', () => {
  /** The arguments by name; returns what replay() returns. */
  async function replay(args: Record<string, string | number | null>): Promise<number> {
    const named = Object.keys(args).map((name, i) => `${name} => $${i + 1}`);
    const [row] = await sql.unsafe<{ count: number }[]>(
      `select pgstream.replay(${named.join()})::integer as count`,
      Object.values(args),
    );
    return row!.count;
  }

  const tried = { attempts: 9, active_for: '1 day', last_status: 500, last_error: 'HTTP 500' };

  test('sets dead deliveries going anew, marked, and gives waiting ones their time again', async () => {
    const id = await insertSubscription(sql);
    const other = await insertSubscription(sql);
    const dead = await insertDelivery(sql, id, { ...tried, state: 'dead' });
    const again = await insertDelivery(sql, id, { ...tried, replayed: true });
    const pending = await insertDelivery(sql, id, tried);
    const others = await insertDelivery(sql, other, { ...tried, state: 'dead' });
    expect(await replay({ subscription: id })).toBe(3);
    const reset = { state: 'pending', active_for: '00:00:00' };
    expect([...(await deliveries())]).toEqual([
      { webhook_id: dead, ...reset, replayed: true, attempts: 0 },
      { webhook_id: again, ...reset, replayed: true, attempts: 9 },
      { webhook_id: pending, ...reset, replayed: false, attempts: 9 },
      { webhook_id: others, state: 'dead', replayed: false, attempts: 9, active_for: '1 day' },
    ]);
    const [kept] = await sql`
      select last_status, last_error from pgstream.webhook_deliveries where webhook_id = ${dead}`;
    expect(kept).toEqual({ last_status: 500, last_error: 'HTTP 500' });
  });

  test('takes those that all of its arguments fit', async () => {
    const id = await insertSubscription(sql);
    const at = (hour: number) => `2026-01-01 0${hour}:00:00+00`;
    const rows: Record<string, unknown>[] = [
      { committed_at: at(1), schema_name: 'a', table_name: 'orders', state: 'dead' },
      { committed_at: at(2), schema_name: 'a', table_name: 'orders_old' },
      { committed_at: at(3), schema_name: 'b', table_name: 'orders', state: 'dead' },
      { committed_at: at(4), schema_name: 'b', table_name: '100%' },
    ];
    const ids: string[] = [];
    for (const row of rows) ids.push(await insertDelivery(sql, id, { ...tried, ...row }));

    const chosen = async (args: Record<string, string | null>) => {
      await sql`update pgstream.webhook_deliveries set active_for = '1 day'`;
      const count = await replay({ subscription: id, ...args });
      const touched = (await deliveries()).flatMap(({ active_for: active }, index) =>
        active === '00:00:00' ? index + 1 : [],
      );
      expect(count).toBe(touched.length);
      const state = rows.map((row) => row['state'] ?? 'pending');
      for (const [index, webhookId] of ids.entries()) {
        await sql`
          update pgstream.webhook_deliveries set state = ${state[index] as string}
          where webhook_id = ${webhookId}`;
      }
      return touched;
    };
    expect(await chosen({})).toEqual([1, 2, 3, 4]);
    expect(await chosen({ since: at(2) })).toEqual([2, 3, 4]);
    expect(await chosen({ until: at(2) })).toEqual([1]);
    expect(await chosen({ since: at(2), until: at(4) })).toEqual([2, 3]);
    expect(await chosen({ since: at(2), until: at(2) })).toEqual([]);
    expect(await chosen({ schema_name: 'a' })).toEqual([1, 2]);
    expect(await chosen({ schema_name: '?' })).toEqual([1, 2, 3, 4]);
    expect(await chosen({ table_name: 'orders' })).toEqual([1, 3]);
    expect(await chosen({ table_name: 'orders*' })).toEqual([1, 2, 3]);
    expect(await chosen({ table_name: '%' })).toEqual([]);
    expect(await chosen({ schema_name: null, table_name: null })).toEqual([1, 2, 3, 4]);
    expect(await chosen({ state: 'dead' })).toEqual([1, 3]);
    expect(await chosen({ state: 'pending' })).toEqual([2, 4]);
    expect(await chosen({ webhook_id: ids[2]! })).toEqual([3]);
    expect(await chosen({ webhook_id: ids[2]!, schema_name: 'a' })).toEqual([]);
    expect(await chosen({ state: 'dead', since: at(2), table_name: 'ord*' })).toEqual([3]);
  });

  test.each([
    ['null', 1, 'pending'],
    [`'pending'`, 0, 'dead'],
  ])('of state %s takes %i of what is given up meanwhile', async (state, count, result) => {
    const id = await insertSubscription(sql);
    await insertDelivery(sql, id, tried);
    const { own } = session();
    const [backend] = await own<{ pid: number }[]>`select pg_backend_pid() as pid`;
    const call = `select pgstream.replay(${id}, state => ${state})::integer as count`;
    let replayed: Promise<unknown[]> | undefined;
    await sql.begin(async (tx) => {
      await tx`update pgstream.webhook_deliveries set state = 'dead'`;
      replayed = own.unsafe(call).execute();
      await eventually(async () => {
        const rows = await sql`select from pg_locks where pid = ${backend!.pid} and not granted`;
        return rows.length > 0;
      });
    });
    expect([...(await replayed!)]).toEqual([{ count }]);
    expect([...(await deliveries())]).toMatchObject([{ state: result, replayed: count === 1 }]);
  });

  test('asks runners when it commits, also where nothing waits in the table', async () => {
    const id = await insertSubscription(sql);
    const asked = async () =>
      (await sql`select subscription::int from pgstream.replay_requests`).map(
        ({ subscription }) => subscription as number,
      );
    await sql`delete from pgstream.replay_requests`;
    const rolledBack = sql.begin(async (tx) => {
      await tx`select pgstream.replay(${id})`;
      throw new Error('no');
    });
    await expect(rolledBack).rejects.toThrow('no');
    await expect(replay({ subscription: id + 1 })).rejects.toMatchObject({ code: '42704' });
    expect(await asked()).toEqual([]);
    expect(await replay({ subscription: id })).toBe(0);
    expect(await asked()).toEqual([id]);
  });

  test('says how to go on where the subscription is paused', async () => {
    const id = await insertSubscription(sql, { enabled: false });
    await insertDelivery(sql, id, { state: 'dead' });
    const { own, notices } = session();
    await own`select pgstream.replay(${id})`;
    expect(notices).toMatchObject([
      { severity: 'NOTICE', message: expect.stringContaining('not enabled') },
    ]);
    await own.unsafe(notices[0]!['hint']!);
    await own`select pgstream.replay(${id})`;
    expect(notices).toHaveLength(1);
    expect([...(await deliveries())]).toMatchObject([{ state: 'pending' }]);
  });

  test.each([
    [{ subscription: -1 }, '42704', 'there is no subscription -1', 'pgstream.webhook_status'],
    [{ subscription: null }, '42704', 'there is no subscription null', 'pgstream.webhook_status'],
    [{ state: 'gone' }, '22023', 'there are no deliveries of state "gone"', 'pending and dead'],
    [
      { since: '2026-01-02', until: '2026-01-01' },
      '22023',
      'since is later than until',
      'since comes first',
    ],
  ])('refuses %j', async (args, code, message, hint) => {
    const id = await insertSubscription(sql);
    await insertDelivery(sql, id, { ...tried, state: 'dead' });
    await expect(replay({ subscription: id, ...args })).rejects.toMatchObject({
      code,
      message,
      hint: expect.stringContaining(hint),
    });
    expect([...(await deliveries())]).toMatchObject([{ state: 'dead', attempts: 9 }]);
  });

  test('acts for its caller, who has to be an operator to reach the deliveries of others', async () => {
    const id = await insertSubscription(sql);
    await insertDelivery(sql, id, { state: 'dead' });
    const role = `operator_${database.name}`;
    await sql.unsafe(`create role ${role}`);
    onTestFinished(async () => {
      await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
    });
    const replayed = () =>
      sql.begin(async (tx) => {
        await tx.unsafe(`set local role ${role}`);
        const [row] = await tx`select pgstream.replay(${id}) as count`;
        return row;
      });
    await expect(replayed()).rejects.toMatchObject({ code: '42501' });
    await sql`select pgstream.grant_subscriber(${role})`;
    await expect(replayed()).rejects.toMatchObject({ code: '42704' });
    await sql`select pgstream.grant_operator(${role})`;
    expect(await replayed()).toEqual({ count: '1' });
  });
});

describe('wait_delivered', () => {
  /** Confirms all that is written so far, as the runner that reads the slot does. */
  const confirm = () =>
    sql`select pg_replication_slot_advance(${slot}, pg_current_wal_flush_lsn())`;

  /** The runner of the slot is heard. */
  const beRead = (row: Record<string, unknown> = {}) => writeLease(sql, slot, row);

  /** Behind everything that is committed before a call. */
  const later = 'FFFFFFFF/0';

  /** Starts to wait on a connection of its own, and resolves when it is seen waiting. */
  async function startWaiting(call = 'pgstream.wait_delivered()') {
    const { own } = session();
    const [backend] = await own<{ pid: number }[]>`select pg_backend_pid() as pid`;
    const waiting = { ended: false, result: own.unsafe(`select ${call}`).execute() };
    void waiting.result.catch(() => undefined).finally(() => (waiting.ended = true));
    await eventually(async () => {
      const rows = await sql`
        select from pg_stat_activity where pid = ${backend!.pid} and wait_event = 'PgSleep'`;
      return rows.length > 0 || waiting.ended;
    });
    return waiting;
  }

  /** Confirms again and again, since other databases may write to the log too. */
  const keepConfirming = (waiting: { ended: boolean }) =>
    eventually(async () => {
      await beRead();
      await confirm();
      return waiting.ended;
    });

  const failure = (query: Promise<unknown>) =>
    query.then(
      () => undefined,
      (error: postgres.PostgresError) => error,
    );

  /** What it fails with where the slot has read everything, or undefined. */
  async function verdict({ within = '10 s', subscription }: Partial<Wait> = {}) {
    const args = `subscription => ${subscription ?? null}, timeout => '${within}'`;
    const waiting = await startWaiting(`pgstream.wait_delivered(${args})`);
    await keepConfirming(waiting);
    return failure(waiting.result);
  }
  interface Wait {
    within: string;
    subscription: number;
  }
  const within = '300 ms';

  test('waits until the slot has passed what was committed, and no longer', async () => {
    await beRead();
    await confirm();
    await sql`select pg_logical_emit_message(true, 'test', '')`;
    const waiting = await startWaiting();
    expect(waiting.ended).toBe(false);
    await keepConfirming(waiting);
    await waiting.result;
  });

  test('gives up at the timeout, and says how much is missing', async () => {
    await beRead();
    await confirm();
    await sql`select pg_logical_emit_message(true, 'test', repeat('x', 100000))`;
    const id = await insertSubscription(sql);
    await insertDelivery(sql, id);
    await insertDelivery(sql, id, { commit_lsn: later });
    const error = await failure(sql`select pgstream.wait_delivered(timeout => '30 ms')`.execute());
    expect(error).toMatchObject({
      code: '57014',
      message: 'not everything was delivered within 00:00:00.03',
      detail: expect.stringMatching(/^bytes of log to read: \d{6,}, deliveries that wait: 1$/),
      hint: expect.stringContaining('select * from pgstream.webhook_status;'),
    });
  });

  test('waits for each slot that a runner reads, and for none that is gone', async () => {
    const second = `mine_${database.name}`;
    await sql`select pg_create_logical_replication_slot(${second}, 'pgoutput')`;
    await writeLease(sql, second);
    await writeLease(sql, 'pgstream_gone');
    expect(await verdict({ within })).toMatchObject({ code: '57014' });
    await sql`select pg_drop_replication_slot(${second})`;
    expect(await verdict()).toBeUndefined();
  });

  test('waits for rows that were committed before the call, and no others', async () => {
    await beRead();
    const id = await insertSubscription(sql);
    await insertDelivery(sql, id, { commit_lsn: later });
    await insertDelivery(sql, id, { commit_lsn: later, state: 'dead' });
    expect(await verdict()).toBeUndefined();
    await insertDelivery(sql, id, { commit_lsn: '0/0' });
    expect(await verdict({ within })).toMatchObject({
      code: '57014',
      detail: expect.stringContaining('deliveries that wait: 1'),
    });
  });

  test('ends when the last row is gone, delivered or skipped', async () => {
    await beRead();
    const id = await insertSubscription(sql);
    const delivery = await insertDelivery(sql, id);
    const waiting = await startWaiting();
    await beRead();
    await confirm();
    expect(waiting.ended).toBe(false);
    await sql`delete from pgstream.webhook_deliveries where webhook_id = ${delivery}`;
    await keepConfirming(waiting);
    await waiting.result;
  });

  test('sees rows that are set aside while it waits', async () => {
    await beRead();
    await sql`select pg_logical_emit_message(true, 'test', '')`;
    const id = await insertSubscription(sql);
    const waiting = await startWaiting(`pgstream.wait_delivered(timeout => '1 s')`);
    await insertDelivery(sql, id);
    await keepConfirming(waiting);
    expect(await failure(waiting.result)).toMatchObject({ code: '57014' });
  });

  test('waits for one subscription alone where one is given', async () => {
    await beRead();
    const id = await insertSubscription(sql);
    const other = await insertSubscription(sql);
    await insertDelivery(sql, other);
    await insertDelivery(sql, other, { state: 'dead' });
    expect(await verdict({ subscription: id })).toBeUndefined();
    await insertDelivery(sql, id);
    expect(await verdict({ within, subscription: id })).toMatchObject({
      code: '57014',
      detail: expect.stringContaining('deliveries that wait: 1'),
    });
  });

  test('does not wait for the rows of a subscription that is deleted', async () => {
    await beRead();
    const id = await insertSubscription(sql);
    await insertDelivery(sql, id);
    await insertDelivery(sql, id, { state: 'dead' });
    await sql`delete from pgstream.webhook_subscriptions where id = ${id}`;
    expect(await verdict()).toBeUndefined();
  });

  test('fails at once where a delivery is dead, with the ways out', async () => {
    await beRead();
    const id = await insertSubscription(sql);
    const delivery = await insertDelivery(sql, id, { state: 'dead' });
    const error = await failure(sql`select pgstream.wait_delivered()`.execute());
    expect(error).toMatchObject({
      code: '55000',
      message: `delivery ${delivery} was given up`,
      hint: expect.stringContaining(`pgstream.replay(subscription => ${id}, state => 'dead')`),
    });
    const [, replay, skip] = /: (select .*?;) or skip it: (delete .*;)$/.exec(error!.hint!)!;
    await sql.unsafe(replay!);
    expect(await verdict({ within })).toMatchObject({ code: '57014' });
    await sql`update pgstream.webhook_deliveries set state = 'dead'`;
    await sql.unsafe(skip!);
    expect(await verdict()).toBeUndefined();
  });

  test('fails at once where a paused subscription keeps rows', async () => {
    await beRead();
    await insertSubscription(sql, { enabled: false });
    expect(await verdict()).toBeUndefined();
    const id = await insertSubscription(sql, { enabled: false });
    await insertDelivery(sql, id);
    const error = await failure(sql`select pgstream.wait_delivered()`.execute());
    expect(error).toMatchObject({
      code: '55000',
      message: expect.stringContaining(`${id} is not`),
    });
    await sql.unsafe(error!.hint!);
    expect(await verdict({ within })).toMatchObject({ code: '57014' });
  });

  test.each([
    ['there is no lease', undefined],
    ['the runner has stopped', { state: 'stopped' }],
    ['the runner has halted', { state: 'halted' }],
    ['the runner is silent', { heartbeat_at: '-infinity' }],
    ['the slot is gone', { slot_name: 'pgstream_gone' }],
  ])('fails at once where %s', async (_, lease) => {
    if (lease) await beRead(lease);
    const error = await failure(sql`select pgstream.wait_delivered()`.execute());
    expect(error).toMatchObject({
      code: '55000',
      message: 'no runner reads a slot',
      detail: lease ? expect.stringMatching(/^slot pgstream_\w+: [a-z]+$/) : expect.any(String),
      hint: expect.stringContaining('pgstream run'),
    });
  });

  test('waits for a runner that is starting', async () => {
    await beRead({ state: 'starting' });
    await sql`select pg_logical_emit_message(true, 'test', '')`;
    const waiting = await startWaiting();
    expect(waiting.ended).toBe(false);
    await keepConfirming(waiting);
    await waiting.result;
  });

  test('keeps waiting while the next runner takes over', async () => {
    await beRead();
    await sql`select pg_logical_emit_message(true, 'test', '')`;
    const waiting = await startWaiting();
    await beRead({ heartbeat_at: '-infinity' });
    expect(waiting.ended).toBe(false);
    await keepConfirming(waiting);
    await waiting.result;
  });

  test('refuses to wait for changes of its own transaction', async () => {
    await beRead();
    const waited = sql.begin(async (tx) => {
      await tx`select pg_current_xact_id()`;
      await tx`select pgstream.wait_delivered()`;
    });
    await expect(waited).rejects.toMatchObject({
      code: '25001',
      hint: expect.stringContaining('Commit'),
    });
  });

  test.each(['repeatable read', 'serializable'])(
    'refuses a %s transaction, which would never see the end',
    async (level) => {
      await beRead();
      const waited = sql.begin(
        `isolation level ${level}`,
        (tx) => tx`
        select pgstream.wait_delivered()`,
      );
      await expect(waited).rejects.toMatchObject({
        code: '0A000',
        hint: 'begin isolation level read committed;',
      });
    },
  );

  test.each([
    [`subscription => -1`, '42704', 'there is no subscription -1', 'webhook_status'],
    [`timeout => null`, '22023', 'timeout is not a length of time', '30 s'],
    [`timeout => '-1 s'`, '22023', 'timeout is not a length of time', '30 s'],
  ])('refuses %s', async (args, code, message, hint) => {
    await beRead();
    const error = await failure(sql.unsafe(`select pgstream.wait_delivered(${args})`).execute());
    expect(error).toMatchObject({ code, message, hint: expect.stringContaining(hint) });
  });
});

test('deleting deliveries and subscriptions leaves status and disk as they should be', async () => {
  const id = await insertSubscription(sql);
  const skipped = await insertDelivery(sql, id);
  await insertDelivery(sql, id, { state: 'dead' });
  await sql`delete from pgstream.webhook_deliveries where webhook_id = ${skipped}`;
  const status = () => sql`select pending, dead from pgstream.webhook_status where id = ${id}`;
  expect([...(await status())]).toEqual([{ pending: '0', dead: '1' }]);
  await sql`delete from pgstream.webhook_subscriptions where id = ${id}`;
  expect([...(await status())]).toEqual([]);
});
