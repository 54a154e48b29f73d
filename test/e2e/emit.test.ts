/** Business events, from pgstream.emit() to the endpoint. */
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import {
  accepted,
  confirmed,
  drained,
  idOf,
  patience,
  startItems,
  stored,
  type Request,
} from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';

interface Emitted {
  type: string;
  timestamp: string;
  data: { n: number; key?: string };
}

/** A runner with a subscription to these business events. */
const startEmitting = (types: string, more: Record<string, string | number> = {}) =>
  startItems({ subscription: { table_name: '', event_types: types, ...more } });

const parse = ({ body }: Request) => JSON.parse(body) as Emitted;
const numbers = (requests: readonly Request[]) => requests.map((one) => parse(one).data.n);

test('an event arrives where its transaction commits, and not where it or a savepoint around it is rolled back', async () => {
  const { sql, receiver, other, subscribe } = await startEmitting('{order.*}');
  await subscribe({ url: other.url, table_name: '', event_types: '{order.paid}' });
  await sql`select pgstream.emit('order.paid', '{"n": 1}')`;
  await sql
    .begin(async (tx) => {
      await tx`select pgstream.emit('order.paid', '{"n": 2}')`;
      throw new Error('rolled back');
    })
    .catch(() => undefined);
  await sql.begin(async (tx) => {
    await tx`select pgstream.emit('order.paid', '{"n": 3}')`;
    await tx
      .savepoint(async (sp) => {
        await sp`select pgstream.emit('order.paid', '{"n": 4}')`;
        throw new Error('rolled back');
      })
      .catch(() => undefined);
    await tx.savepoint((sp) => sp`select pgstream.emit('order.sent.late', '{"n": 5}')`.execute());
  });
  await sql`select pgstream.emit('orders.paid', '{"n": 6}')`;
  await confirmed(sql);
  expect(numbers(receiver.requests).toSorted((a, b) => a - b)).toEqual([1, 3, 5]);
  expect(numbers(other.requests).toSorted((a, b) => a - b)).toEqual([1, 3]);
  const first = receiver.requests.find((one) => parse(one).data.n === 1)!;
  expect(first.body).toMatch(
    /^\{"type":"order\.paid","timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z","data":\{"n": 1\}\}$/,
  );
  expect(idOf(first)).toMatch(/^evt_/);
  expect(await sql`select from pgstream.emitted_events`).toHaveLength(0);
});

test('null stands for row changes alone, a star for these and business events, and a table for its rows', async () => {
  const { sql, receiver, other, subscribe, configure } = await startEmitting('{*}');
  await subscribe({ url: other.url, table_name: '' });
  await sql.begin(async (tx) => {
    await tx`insert into item (id) values (1)`;
    await tx`select pgstream.emit('item.seen', '{"n": 1}')`;
    await tx`delete from item`;
  });
  await confirmed(sql);
  const kinds = (requests: readonly Request[]) =>
    requests
      .map(({ body }) => JSON.parse(body) as { type?: string; Data?: { action: string } })
      .map(({ type, Data }) => type ?? Data?.action);
  expect(kinds(receiver.requests).toSorted((a, b) => a!.localeCompare(b!))).toEqual([
    'D',
    'I',
    'item.seen',
  ]);
  expect(kinds(other.requests).toSorted((a, b) => a!.localeCompare(b!))).toEqual(['D', 'I']);
  await configure({ table_name: 'item' });
  await sql`select pgstream.emit('item.seen', '{"n": 2}')`;
  await sql`insert into item (id) values (2)`;
  await confirmed(sql);
  expect(kinds(receiver.requests.slice(3))).toEqual(['I']);
});

test('events of a key arrive in order while requests fail, and those without one do not wait', async () => {
  const { sql, receiver } = await startEmitting('{step.*}');
  let refused = 0;
  receiver.reply((request) => {
    const { data } = parse(request);
    return { status: data.key === 'a' && data.n < 3 && refused++ < 4 ? 503 : 200 };
  });
  for (let n = 1; n <= 5; n++) {
    await sql`select pgstream.emit('step.taken', ${sql.json({ n, key: 'a' })}, key => 'a')`;
    await sql`select pgstream.emit('step.taken', ${sql.json({ n: 10 + n })})`;
  }
  await drained(sql);
  const all = accepted(receiver).map((one) => parse(one).data);
  expect(all.filter(({ key }) => key === 'a').map(({ n }) => n)).toEqual([1, 2, 3, 4, 5]);
  expect(all.findIndex(({ n }) => n === 15)).toBeLessThan(all.findIndex(({ n }) => n === 5));
});

test('in strict order events and row changes of a transaction arrive as they happened', async () => {
  const { sql, receiver } = await startEmitting('{*}', { ordering: 'strict' });
  await sql.begin(async (tx) => {
    for (let n = 1; n <= 20; n++) {
      await tx`insert into item (id) values (${n})`;
      await tx`select pgstream.emit('item.seen', ${tx.json({ n })})`;
    }
  });
  await confirmed(sql);
  const told = receiver.requests.map(({ body }) => {
    const event = JSON.parse(body) as Partial<Emitted> & {
      Data?: { columns: { value: number }[] };
    };
    return event.Data?.columns[0]!.value ?? `seen ${event.data!.n}`;
  });
  expect(told).toEqual(Array.from({ length: 20 }, (_, i) => [i + 1, `seen ${i + 1}`]).flat());
});

test('ten thousand events of one transaction arrive once each through a crash, and leave nothing', async () => {
  const { sql, receiver, runner, start } = await startEmitting('{tick.*}', { batch_size: 100 });
  await sql`
    select count(pgstream.emit('tick.tock', jsonb_build_object('n', n), key => (n % 7)::text))
    from generate_series(1, 10000) n`;
  await receiver.waitFor(3, patience);
  await runner.kill();
  await start();
  await drained(sql);
  const ids = new Map<string, number>();
  for (const { headers, body } of receiver.requests) {
    const events = JSON.parse(body) as Emitted[];
    const members = (headers['pgstream-event-ids'] as string).split(' ');
    members.forEach((id, i) => {
      expect(ids.get(id) ?? events[i]!.data.n).toBe(events[i]!.data.n);
      ids.set(id, events[i]!.data.n);
    });
  }
  expect([...ids.values()].toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 10_000 }, (_, i) => i + 1),
  );
  await sql`vacuum pgstream.emitted_events`;
  const [size] = await sql`select pg_relation_size('pgstream.emitted_events')::integer as bytes`;
  expect(size).toEqual({ bytes: 0 });
});

test('an event that an endpoint refuses is stored, and comes after a crash and a replay with its id and bytes', async () => {
  const { sql, receiver, runner, start, id } = await startEmitting('{order.*}');
  receiver.reply({ status: 503 });
  await sql`select pgstream.emit('order.paid', '{"n": 1, "note": "a\\tb \\\\ ü"}', key => 'k')`;
  await eventually(async () => (await stored(sql)) === 1, patience);
  const [row] = await sql`
    select schema_name, table_name, action, format from pgstream.webhook_deliveries`;
  expect(row).toEqual({
    schema_name: '',
    table_name: '',
    action: 'order.paid',
    format: 'pgstream',
  });
  await runner.kill();
  await start();
  receiver.reply({});
  await sql`select pgstream.replay(${id})`;
  await drained(sql);
  expect(new Set(receiver.requests.map(idOf)).size).toBe(1);
  expect(new Set(receiver.requests.map(({ body }) => body)).size).toBe(1);
});

test('a role that may call pg_logical_emit_message and nothing else can forge, copy and repeat no event', async () => {
  const { sql, receiver, runner } = await startEmitting('{*}');
  const [{ name } = { name: '' }] = await sql<{ name: string }[]>`
    select current_database() as name`;
  const forger = `forger_${name}`;
  await sql.unsafe(`create role ${forger} login`);
  onTestFinished(async () => void (await sql.unsafe(`drop role ${forger}`)));
  const [{ port } = { port: 0 }] = await sql<{ port: number }[]>`
    select current_setting('port')::integer as port`;
  const forging = postgres({
    host: '127.0.0.1',
    port,
    database: name,
    username: forger,
    max: 1,
    onnotice: () => undefined,
  });
  onTestFinished(() => forging.end({ timeout: 0 }));

  // What a real event looks like on the wire.
  const slot = `copy_${name}`;
  await sql`select pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
  await sql`select pgstream.emit('order.paid', '{"n": 1}')`;
  const real = await sql<{ data: Buffer }[]>`
    select data from pg_logical_slot_get_binary_changes(
      ${slot}, null, null, 'proto_version', '1', 'publication_names', 'pgstream_control',
      'messages', 'true')`;
  await sql`select pg_drop_replication_slot(${slot})`;
  expect(real.length).toBeGreaterThan(2);

  const forged = JSON.stringify({ type: 'order.paid', data: { n: 666 } });
  for (const prefix of ['pgstream', 'pgstream.emit', 'pgstream.emitted_events', '']) {
    for (const isTransactional of [true, false]) {
      await forging`select pg_logical_emit_message(${isTransactional}, ${prefix}, ${forged}::text)`;
      for (const { data } of [...real, ...real]) {
        await forging`select pg_logical_emit_message(${isTransactional}, ${prefix}, ${data}::bytea)`;
      }
    }
  }
  for (const attempt of [
    `select pgstream.emit('order.paid', '{"n": 666}')`,
    `insert into pgstream.emitted_events (type, data) values ('order.paid', '{"n": 666}')`,
    `copy pgstream.emitted_events (type, data) from stdin`,
    `alter publication pgstream_control add table only pg_temp.emitted_events`,
    `create table pgstream.mine (type text, data jsonb)`,
    `set session_replication_role = replica`,
    `select pgstream.grant_emitter('${forger}')`,
    `select pg_logical_slot_peek_binary_changes('pgstream_${name}_slot', null, null)`,
  ]) {
    await expect(forging.unsafe(attempt), attempt).rejects.toMatchObject({
      code: expect.stringMatching(/^(42501|42P01|3F000)$/),
    });
  }
  await sql`select pgstream.emit('order.paid', '{"n": 2}')`;
  await confirmed(sql);
  expect(numbers(receiver.requests)).toEqual([1, 2]);
  expect(runner.stderr).not.toContain('"level":"error"');

  await sql`select pgstream.grant_emitter(${forger})`;
  onTestFinished(async () => void (await sql.unsafe(`drop owned by ${forger}`)));
  await forging`select pgstream.emit('order.paid', '{"n": 3}')`;
  await expect(forging`select from pgstream.emitted_events`).rejects.toMatchObject({
    code: '42501',
  });
  await confirmed(sql);
  expect(numbers(receiver.requests)).toEqual([1, 2, 3]);
});
