/** Filters and payloads, from the INSERT of a subscription to what arrives: the verdicts are those of Postgres. */
import { randomBytes } from 'node:crypto';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';
import {
  acceptedFilters,
  acceptedPayloads,
  orderChanges,
  orderRows,
  ordersTable,
} from '../helpers/expression-cases.js';
import { confirmed, patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';

/** A database, an endpoint, a login without rights, and a way to run pgstream. */
async function setUp() {
  const database = await createDatabase();
  const receiver = await startReceiver();
  const { sql, url } = database;
  const role = `evaluator_${randomBytes(4).toString('hex')}`;
  await sql.unsafe(`create role ${role} login`);
  onTestFinished(async () => {
    await receiver.close();
    await sql.unsafe(`drop role ${role}`);
    await database.drop();
  });
  const evaluator = new URL(url);
  evaluator.username = role;
  const start = async ({ withEvaluator = true } = {}) => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        ...(withEvaluator && { PGSTREAM_EVALUATOR_URL: evaluator.href }),
      },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  const subscribe = async (name: string, given: Record<string, string | number | boolean>) => {
    const row = { schema_name: 'public', url: `${receiver.url}/${name}`, name, ...given };
    const [made] = await sql<{ id: number }[]>`
      insert into pgstream.webhook_subscriptions ${sql(row)} returning id::integer`;
    return made!.id;
  };
  const bodies = (name: string) =>
    receiver.requests.filter(({ path }) => path === `/${name}`).map(({ body }) => body);
  const status = async (name: string) => {
    const [row] = await sql<{ state: string; last_error: string; dead: number; errors: number }[]>`
      select state, last_error, dead::integer, evaluation_errors::integer as errors
      from pgstream.webhook_status where name = ${name}`;
    return row!;
  };
  return { sql, url, receiver, role, start, subscribe, bodies, status };
}

type World = Awaited<ReturnType<typeof setUp>>;

/** Everything that has happened to table `orders`, as a table that Postgres can be asked about. */
async function keepHistory({ sql }: World) {
  await sql.unsafe(`
    create table history (n serial, op text, new orders, old orders);
    create function keep() returns trigger language plpgsql as $$
    begin
      if tg_op = 'TRUNCATE' then insert into history (op) values ('T');
      elsif tg_op = 'INSERT' then insert into history (op, new) values ('I', new);
      elsif tg_op = 'UPDATE' then insert into history (op, new, old) values ('U', new, old);
      else insert into history (op, old) values ('D', old);
      end if;
      return null;
    end $$;
    create trigger keep after insert or update or delete on orders
      for each row execute function keep();
    create trigger keep_truncate after truncate on orders execute function keep()`);
}

const ofHistory = `
  from history h, lateral (select (h.new).*) as new, lateral (select (h.old).*) as old`;
const within = (expression: string) => `(select (${expression}) from (select h.op) as event(op))`;

/** What happened to which row. */
const tell = (body: string) => {
  type Values = { name: string; value: unknown }[] | null;
  const id = /"name":"id","type":"bigint","value":(\d+)/.exec(body)?.[1] ?? '';
  const { action } = (JSON.parse(body) as { Data: { action: string; columns: Values } }).Data;
  return `${action} ${id}`;
};

test('an event is sent where Postgres finds its row with the same condition after WHERE', async () => {
  const world = await setUp();
  const { sql, bodies, subscribe, start } = world;
  await sql.unsafe(ordersTable);
  await start();
  for (const [n, filter] of acceptedFilters.entries()) {
    await subscribe(`f${n}`, { table_name: 'orders', filter, ordering: 'strict' });
  }
  for (const [n, payload] of acceptedPayloads.entries()) {
    const event_types = '{I,U}';
    await subscribe(`p${n}`, { table_name: 'orders', payload, event_types, ordering: 'strict' });
  }
  await subscribe('all', { table_name: 'orders', ordering: 'strict' });
  await keepHistory(world);
  for (const row of orderRows) await sql.unsafe(`insert into orders values ${row}`);
  for (const change of orderChanges) await sql.unsafe(change);
  const expected = async (expression: string) => {
    const rows = await sql.unsafe<{ event: string }[]>(
      `select h.op || ' ' || coalesce((h.new).id, (h.old).id)::text as event ${ofHistory}
       where ${within(expression)} and h.op <> 'T' or h.op = 'T' and ${within(expression)} order by h.n`,
    );
    return rows.map(({ event }) => event ?? 'T ');
  };
  const count = await sql`select from history`;
  await eventually(() => bodies('all').length === count.length, patience);
  await confirmed(sql);
  for (const [n, filter] of acceptedFilters.entries()) {
    const wanted = (await expected(filter)) as unknown;
    expect({ filter, events: bodies(`f${n}`).map(tell) }).toEqual({ filter, events: wanted });
  }
  for (const [n, payload] of acceptedPayloads.entries()) {
    const rows = await sql.unsafe<{ body: string }[]>(
      `select ${within(payload)}::text as body ${ofHistory} where h.op in ('I', 'U') order by h.n`,
    );
    const wanted = rows.map(({ body }) => body).filter((body) => body !== null);
    expect({ payload, bodies: bodies(`p${n}`) }).toEqual({ payload, bodies: wanted });
  }
  expect(await sql`select from ran`).toHaveLength(0);

  // What SQL foretells is what the runner has sent.
  const foretold = async (name: string) => {
    const rows = await sql<{ body: string }[]>`
      select p.body
      from pgstream.webhook_subscriptions s, history h,
        pgstream.preview(s.id, to_jsonb(h.new), to_jsonb(h.old)) p
      where s.name = ${name} and p.sent and p.problem is null
      order by h.n`;
    return rows.map(({ body }) => normal(body));
  };
  const some = acceptedFilters.flatMap((_, n) => (n % 9 === 0 ? [`f${n}`] : []));
  for (const name of ['all', 'p0', 'p1', 'p2', 'p6', ...some]) {
    expect([name, ...(await foretold(name))]).toEqual([name, ...bodies(name).map(normal)]);
  }
});

const normal = (body: string) =>
  body.replace(/"timestamp":"[^"]+","lsn":"[^"]+"/, '"timestamp":"","lsn":""');

const isSent = (world: World, name: string, count: number) =>
  eventually(() => world.bodies(name).length >= count, patience);

const deadOf = ({ sql }: World) => sql<{ name: string; action: string; last_error: string }[]>`
  select s.name, d.action, d.last_error, d.body
  from pgstream.webhook_deliveries d
  join pgstream.webhook_subscriptions s on s.id = d.subscription
  where d.state = 'dead' order by d.commit_lsn, d.ordinal`;

test('an expression that fails for an event costs that event, which can be replayed, and no other', async () => {
  const world = await setUp();
  const { sql, subscribe, start, bodies, status } = world;
  await sql`create table item (id integer primary key, n integer)`;
  await start();
  await subscribe('divides', { table_name: 'item', filter: '10 / new.n > 1', ordering: 'strict' });
  await subscribe('casts', {
    table_name: 'item',
    payload: `jsonb_build_object('id', new.id, 'q', 6 / new.n)`,
  });
  await subscribe('other', { table_name: 'item', filter: 'new.n >= 0', ordering: 'strict' });
  await sql`insert into item select id, id % 3 from generate_series(1, 300) id`;
  await isSent(world, 'other', 300);
  await isSent(world, 'divides', 200);
  await confirmed(sql);
  expect(bodies('other').map(tellItem)).toEqual(numbers(300));
  expect(bodies('divides').map(tellItem)).toEqual(numbers(300).filter((id) => id % 3 > 0));
  await isSent(world, 'casts', 200);
  expect(await deadOf(world)).toHaveLength(200);
  await eventually(async () => {
    expect(await status('divides')).toMatchObject({
      dead: 100,
      errors: 100,
      last_error: 'the filter fails: division by zero (22012)',
    });
  }, patience);
  expect(await status('other')).toMatchObject({ errors: 0, dead: 0 });
  const [row] = await sql<{ id: number }[]>`
    select subscription::integer as id from pgstream.webhook_deliveries limit 1`;
  await sql`select pgstream.replay(subscription => ${row!.id})`;
  await eventually(async () => (await deadOf(world)).length === 100, patience);
});

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
const tellItem = (body: string) =>
  Number(/"name":"id","type":"integer","value":(\d+)/.exec(body)?.[1]);

test('one that always fails is not evaluated any more, until it is changed', async () => {
  const world = await setUp();
  const { sql, subscribe, start, status, bodies } = world;
  await sql`create table item (id integer primary key, n integer)`;
  const runner = await start();
  const id = await subscribe('poison', { table_name: 'item', filter: '1 / (new.n - new.n) = 1' });
  await sql`insert into item select id, id from generate_series(1, 150) id`;
  await runner.waitForLog(/not evaluated any more/, patience);
  await eventually(async () => {
    expect(await status('poison')).toMatchObject({ state: 'invalid', dead: 150 });
  }, patience);
  await sql`update pgstream.webhook_subscriptions set filter = 'new.n > 1000' where id = ${id}`;
  await sql`insert into item values (1000, 1), (1001, 1001)`;
  await isSent(world, 'poison', 1);
  expect(bodies('poison').map(tellItem)).toEqual([1001]);
  await eventually(async () => {
    expect(await status('poison')).toMatchObject({ dead: 150 });
    expect((await status('poison')).state).not.toBe('invalid');
  }, patience);
});

test('one that takes too long, or too much, holds up nobody else', async () => {
  const world = await setUp();
  const { sql, subscribe, start, status } = world;
  await sql`create table item (id integer primary key, note text)`;
  await start();
  await subscribe('regex', {
    table_name: 'item',
    filter: `(new.note || 'y' || new.note || 'x') ~ '^(x+)(x+)(x+)(x+)y\\1\\2\\3\\4$'`,
  });
  await subscribe('memory', {
    table_name: 'item',
    filter: `length(repeat(new.note, 900000000)) > 1`,
  });
  await subscribe('other', { table_name: 'item', filter: `new.note <> ''` });
  await sql`insert into item select id, repeat('x', 400) from generate_series(1, 20) id`;
  await isSent(world, 'other', 20);
  await eventually(async () => {
    expect(await status('regex')).toMatchObject({ state: 'invalid', dead: 20 });
    expect(await status('memory')).toMatchObject({ dead: 20 });
  }, patience);
  await sql`insert into item values (100, 'y')`;
  await isSent(world, 'other', 21);
  await confirmed(sql);
});

test('without a login that has no rights, code of others is not evaluated', async () => {
  const world = await setUp();
  const { sql, subscribe, start, status, role, bodies } = world;
  await sql.unsafe(`
    ${ordersTable};
    create function shape(jsonb) returns jsonb language sql return $1 || '{"shaped": true}';
    select pgstream.register_transform('shape(jsonb)');
    create schema theirs authorization ${role};
    create type theirs.kind as enum ('a', 'b');
    alter type theirs.kind owner to ${role};
    create table theirs_item (id integer primary key, kind theirs.kind);
    create function evil_json(theirs.kind) returns json language plpgsql as
      $$ begin insert into ran values ('json'); return '1'; end $$;
    create cast (theirs.kind as json) with function evil_json(theirs.kind)`);
  onTestFinished(() => sql.unsafe(`drop owned by ${role} cascade`).then(() => undefined));
  const runner = await start({ withEvaluator: false });
  await subscribe('enum', { table_name: 'orders', filter: `new.feeling = 'happy'` });
  await subscribe('citext', { table_name: 'orders', filter: `new.email = 'a@B'` });
  await subscribe('shape', {
    table_name: 'orders',
    payload: `public.shape(jsonb_build_object('id', new.id))`,
  });
  await subscribe('theirs', { table_name: 'theirs_item', filter: `new.kind = 'a'` });
  await subscribe('row', { table_name: 'theirs_item', payload: `to_jsonb(new)` });
  await sql`insert into orders (id, feeling, email) values (1, 'happy', 'A@b')`;
  await sql`insert into theirs_item values (1, 'a')`;
  await isSent(world, 'enum', 1);
  for (const name of ['citext', 'shape', 'theirs', 'row']) {
    await eventually(async () => {
      expect(await status(name)).toMatchObject({
        state: 'invalid',
        dead: 1,
        last_error: expect.stringContaining('PGSTREAM_EVALUATOR_URL') as string,
      });
    }, patience);
  }
  expect(await sql`select from ran`).toHaveLength(0);
  await runner.kill('SIGTERM');
  await sql`truncate orders`;
  await sql`delete from theirs_item`;
  await start();
  await sql`insert into orders (id, feeling, email) values (2, 'happy', 'A@b')`;
  await isSent(world, 'citext', 1);
  await eventually(() => expect(bodies('shape')).toContain('{"id": 2, "shaped": true}'));
});

test('a transform that will not be cancelled is broken off, and leaves nothing behind', async () => {
  const world = await setUp();
  const { sql, subscribe, start, status, bodies } = world;
  await sql.unsafe(`
    create table item (id integer primary key);
    create function stubborn(integer) returns jsonb language plpgsql as $$
    begin
      loop
        begin
          perform pg_sleep(60);
        exception when query_canceled then
        end;
      end loop;
    end $$;
    create function meddle(integer) returns jsonb language plpgsql as $$
    begin
      perform set_config('search_path', 'public', false);
      perform set_config('timezone', 'Asia/Tokyo', false);
      return to_jsonb($1);
    end $$;
    create function write(integer) returns jsonb language plpgsql security invoker as $$
    begin insert into public.item values (-1); return '1'; end $$;
    select pgstream.register_transform(f)
    from unnest('{stubborn(integer),meddle(integer),write(integer)}'::regprocedure[]) f`);
  await start();
  await subscribe('stubborn', { table_name: 'item', payload: 'public.stubborn(new.id)' });
  await subscribe('write', { table_name: 'item', payload: 'public.write(new.id)' });
  await subscribe('meddle', { table_name: 'item', payload: 'public.meddle(new.id)' });
  await subscribe('zone', {
    table_name: 'item',
    payload: `to_jsonb(date_trunc('hour', '2025-01-01 00:00'::timestamptz)::text || new.id)`,
  });
  await sql`insert into item select generate_series(1, 5)`;
  await isSent(world, 'zone', 5);
  await isSent(world, 'meddle', 5);
  await sql`insert into item values (6)`;
  await isSent(world, 'zone', 6);
  expect(new Set(bodies('zone').map((body) => body.slice(1, 20)))).toEqual(
    new Set(['2025-01-01 00:00:00']),
  );
  await eventually(
    async () => {
      expect(await status('stubborn')).toMatchObject({ state: 'invalid', dead: 6 });
      expect(await status('write')).toMatchObject({ dead: 6 });
    },
    { timeout: 50_000 },
  );
  expect(await sql`select from item where id < 0`).toHaveLength(0);
  await eventually(async () => {
    const left = await sql`
      select from pg_stat_activity where query like '%stubborn%' and pid <> pg_backend_pid()`;
    expect(left).toHaveLength(0);
  }, patience);
}, 90_000);

test('a runner that is killed sends the same again: the same ids, the same bytes, in order', async () => {
  const world = await setUp();
  const { sql, receiver, subscribe, start, bodies } = world;
  await sql`create table item (id integer primary key, n integer, at timestamptz)`;
  let runner = await start();
  await subscribe('same', {
    table_name: 'item',
    filter: 'new.n % 3 > 0',
    payload: `jsonb_build_object('id', new.id, 'n', new.n, 'now', now(), 'late', now() > new.at, 'r', round(new.n / 7.0, 3))`,
    ordering: 'strict',
  });
  for (let round = 0; round < 4; round++) {
    for (let n = 1; n <= 60; n++) {
      await sql`insert into item values (${round * 100 + n}, ${n}, now() - interval '1 hour')`;
    }
    await isSent(world, 'same', round * 40 + 10);
    await runner.kill('SIGKILL');
    runner = await start();
  }
  await confirmed(sql);
  const seen = new Map<string, string>();
  for (const { headers, body } of receiver.requests) {
    const id = headers['webhook-id'] as string;
    expect(seen.get(id) ?? body).toBe(body);
    seen.set(id, body);
  }
  const ids = [...seen.values()].map((body) => (JSON.parse(body) as { id: number }).id);
  const wanted = [0, 1, 2, 3].flatMap((round) =>
    numbers(60)
      .filter((n) => n % 3 > 0)
      .map((n) => round * 100 + n),
  );
  expect(ids).toEqual(wanted);
  expect(bodies('same').every((body) => body.includes('"late": true'))).toBe(true);
  const [row] = await sql<{ now: string }[]>`
    select to_jsonb(committed_at) #>> '{}' as now from (select now() as committed_at) n`;
  expect(bodies('same')[0]).toMatch(new RegExp(`"now": "${row!.now.slice(0, 10)}`));
});

test('an event is judged by the columns of its own time, and what comes later keeps its place', async () => {
  const world = await setUp();
  const { sql, subscribe, start, status, bodies } = world;
  await sql`create table item (id integer primary key, status text, kind integer)`;
  const runner = await start();
  const id = await subscribe('item', {
    table_name: 'item',
    filter: `new.status = 'paid'`,
    ordering: 'strict',
  });
  await isStarted(world, id);
  await runner.kill('SIGKILL');
  await sql`insert into item values (1, 'paid', 1), (2, 'new', 2)`;
  await sql`alter table item drop column status`;
  await sql`insert into item values (3, 3)`;
  await sql`update pgstream.webhook_subscriptions set filter = 'new.kind > 3' where id = ${id}`;
  await sql`insert into item values (4, 4), (5, 1)`;
  await sql`update pgstream.webhook_subscriptions set filter = null where id = ${id}`;
  await sql`insert into item values (6, 0)`;
  await start();
  await isSent(world, 'item', 3);
  await confirmed(sql);
  expect(bodies('item').map(tellItem)).toEqual([1, 4, 6]);
  const dead = await deadOf(world);
  expect(dead).toMatchObject([{ name: 'item', last_error: expect.stringContaining('new.status') }]);
  await eventually(async () => {
    expect(await status('item')).toMatchObject({ dead: 1, errors: 1 });
  }, patience);
});

const isStarted = ({ sql }: World, id: number) =>
  eventually(async () => {
    const rows = await sql`
      select from pgstream.subscription_changes where subscription = ${id} and commit_lsn is null`;
    return rows.length === 0;
  }, patience);

test('a large value that an update left alone comes from the old row, or the event is set aside', async () => {
  const world = await setUp();
  const { sql, subscribe, start, bodies } = world;
  await sql.unsafe(`
    create table full_item (id integer primary key, n integer, large text);
    alter table full_item alter large set storage external, replica identity full;
    create table keyed_item (id integer primary key, n integer, large text);
    alter table keyed_item alter large set storage external`);
  await start();
  const payload = `jsonb_build_object('n', new.n, 'length', length(new.large))`;
  await subscribe('full', { table_name: 'full_item', payload });
  await subscribe('keyed', { table_name: 'keyed_item', payload });
  await subscribe('small', { table_name: 'keyed_item', payload: `to_jsonb(new.n)` });
  for (const table of ['full_item', 'keyed_item']) {
    await sql.unsafe(`insert into ${table} values (1, 1, repeat('x', 10000))`);
    await sql.unsafe(`update ${table} set n = 2`);
  }
  await isSent(world, 'full', 2);
  await isSent(world, 'small', 2);
  await confirmed(sql);
  expect(bodies('full')).toEqual(['{"n": 1, "length": 10000}', '{"n": 2, "length": 10000}']);
  expect(bodies('keyed')).toEqual(['{"n": 1, "length": 10000}']);
  expect(await deadOf(world)).toMatchObject([
    { name: 'keyed', action: 'U', last_error: expect.stringContaining('replica identity full') },
  ]);
});

test('a lost connection costs nothing, and a large transaction little', async () => {
  const world = await setUp();
  const { sql, subscribe, start, bodies, role } = world;
  await sql`create table item (id integer primary key, n integer)`;
  await start();
  await subscribe('item', {
    table_name: 'item',
    filter: 'new.n = 0',
    batch_size: 100,
    ordering: 'strict',
  });
  for (let n = 0; n < 5; n++) {
    await sql`insert into item
      select id, id % 100 from generate_series(${n * 20_000 + 1}::integer, ${n * 20_000 + 20_000}) id`;
    await eventually(async () => {
      const ended = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity where usename = ${role}`;
      return ended.length > 0;
    }, patience);
  }
  await confirmed(sql);
  const arrived = bodies('item').flatMap((body) =>
    [...body.matchAll(/"name":"id","type":"integer","value":(\d+)/g)].map(([, id]) => Number(id)),
  );
  expect(arrived).toEqual(numbers(1000).map((n) => n * 100));
});
