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
});
