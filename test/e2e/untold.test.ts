/**
 * What rows hold appears in deliveries and nowhere else, whatever fails: not in the log, not over HTTP,
 * and in nothing that an operator can read.
 */
import { randomBytes } from 'node:crypto';
import type postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { createForeignPair } from '../helpers/foreign.js';
import { createRoles } from '../helpers/roles.js';
import { patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner, type Runner } from '../helpers/runner.js';
import { request } from '../helpers/snapshots.js';

const mark = 'MARK-4711';
const number = '471147114711';
const marked = /MARK-4711|471147114711/;

/** A database with an operator and a login for expressions, an endpoint, and a way to run pgstream. */
async function setUp() {
  const { database, roles } = await createRoles({ operator: '', evaluator: '' });
  const { sql, url } = database;
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  await sql`select pgstream.grant_operator(${roles.operator.name})`;
  await sql`
    create table item (id integer primary key, card text, big numeric, zero integer, doc jsonb)`;
  const start = async () => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_EVALUATOR_URL: roles.evaluator.url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        PGSTREAM_LOG_LEVEL: 'trace',
      },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  const subscribe = async (name: string, given: Record<string, string>) => {
    const row = {
      url: `${receiver.url}/${name}`,
      name,
      schema_name: 'public',
      table_name: 'item',
      ...given,
    };
    await sql`insert into pgstream.webhook_subscriptions ${sql(row)}`;
  };
  const insert = () => sql`
    insert into item values (1, ${mark}, ${number}, 0, ${sql.json({ card: mark })})`;
  const reasons = async () => {
    const rows = await sql<{ name: string; last_error: string }[]>`
      select s.name, d.last_error
      from pgstream.webhook_deliveries d
      join pgstream.webhook_subscriptions s on s.id = d.subscription
      where d.state = 'dead'`;
    return Object.fromEntries(rows.map((row) => [row.name, row.last_error]));
  };
  return { sql, roles, receiver, start, subscribe, insert, reasons };
}

/** All that a role can read of schema pgstream. */
async function readable(sql: postgres.Sql): Promise<string> {
  const relations = await sql<{ name: string; columns: string }[]>`
    select c.oid::regclass::text as name,
      string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'pgstream'::regnamespace and c.relkind in ('r', 'v')
      and has_column_privilege(c.oid, a.attnum, 'select')
    group by c.oid`;
  const texts: string[] = [];
  for (const { name, columns } of relations) {
    const rows = await sql.unsafe(
      `select '${name}' as relation, to_jsonb(r)::text as row from (select ${columns} from ${name}) r`,
    );
    texts.push(JSON.stringify(rows));
  }
  return texts.join('\n');
}

/** All that the runner tells whoever asks. */
async function served(runner: Runner): Promise<string> {
  const [, address] = await runner.waitForLog(/"url":"(http:[^"]+)"/);
  const texts: string[] = [];
  for (const path of ['/status', '/ready', '/metrics', '/webhooks', '/webhooks/1', '/health']) {
    texts.push(await (await fetch(`${address}${path}`)).text());
  }
  return texts.join('\n');
}

const expressions: Record<string, Record<string, string>> = {
  cast: { filter: 'new.card::integer > 0' },
  range: { filter: 'new.big::integer > 0' },
  text_range: { filter: 'new.big::text::integer > 0' },
  division: { filter: 'new.big / new.zero > 0' },
  regex: { filter: `new.card ~ (new.card || '(')` },
  json: { filter: `new.card::jsonb is not null` },
  uuid: { payload: 'to_jsonb(new.card::uuid)' },
  inet: { payload: `to_jsonb(new.card::inet)` },
  decode: { payload: `to_jsonb(decode(new.card, 'hex'))` },
  number: { payload: `to_jsonb((new.doc ->> 'card')::numeric)` },
  both: { filter: 'new.card::integer > 0', payload: 'to_jsonb(new.id)' },
  ...Object.fromEntries(
    ['P0001', '22012', '42501', '42704', '57P01', '08006', '28P01', 'AB123'].map((state) => [
      `raise_${state}`,
      { payload: `public.tell(new.card, '${state}')` },
    ]),
  ),
};

test('an expression that fails for a row says how, and nothing of the row', async () => {
  const { sql, roles, receiver, start, subscribe, insert, reasons } = await setUp();
  await sql.unsafe(`
    create function tell(card text, state text) returns jsonb language plpgsql as $$
    begin
      raise notice 'notice %', card;
      raise warning 'warning %', card;
      raise exception 'replication slot publication %', card
        using errcode = state, detail = card, hint = card, column = card, constraint = card,
              table = card, schema = card, datatype = card;
    end $$;
    select pgstream.register_transform('tell(text,text)')`);
  const runner = await start();
  for (const [name, given] of Object.entries(expressions)) await subscribe(name, given);
  await subscribe('all', {});
  await insert();
  await eventually(async () => {
    expect(Object.keys(await reasons()).sort()).toEqual(Object.keys(expressions).sort());
  }, patience);
  expect(await reasons()).toMatchObject({
    cast: 'the filter fails: invalid text representation (22P02)',
    range: 'the filter fails: numeric value out of range (22003)',
    division: 'the filter fails: division by zero (22012)',
    uuid: 'the payload fails: invalid text representation (22P02)',
    both: 'filter or payload fails: invalid text representation (22P02)',
    raise_P0001: 'the payload fails: raise exception (P0001)',
    raise_42501: 'the payload fails: insufficient privilege (42501)',
    raise_AB123: 'the payload fails: error (AB123)',
  });
  await eventually(async () => {
    const [row] = await roles.operator.sql<{ last_error: string }[]>`
      select last_error from pgstream.webhook_status where name = 'cast'`;
    expect(row!.last_error).toBe('the filter fails: invalid text representation (22P02)');
  }, patience);
  expect(await readable(roles.operator.sql)).not.toMatch(marked);
  expect(await served(runner)).not.toMatch(marked);
  await runner.kill('SIGTERM');
  expect(runner.stderr).toContain('invalid text representation (22P02)');
  expect(runner.stderr + runner.stdout).not.toMatch(marked);
  expect(receiver.requests.map(({ path }) => path)).toEqual(['/all']);

  // Whoever may see the row asks with it.
  const [{ problem }] = (await sql`
    select problem from pgstream.webhook_subscriptions s,
      pgstream.preview(s.id, new => (select to_jsonb(i) from item i))
    where s.name = 'cast'`) as unknown as [{ problem: string }];
  expect(problem).toContain(mark);
});

test('what an endpoint answers is told by its status alone', async () => {
  const { sql, roles, receiver, start, subscribe, insert } = await setUp();
  receiver.reply(({ body }) => ({
    status: 500,
    headers: { 'retry-after': mark, 'content-type': 'application/json', 'x-echo': mark },
    body,
  }));
  const runner = await start();
  await subscribe('echo', {});
  await insert();
  await eventually(async () => {
    const [row] = await sql<{ last_error: string }[]>`
      select last_error from pgstream.webhook_deliveries where attempts > 0`;
    expect(row?.last_error).toBe('HTTP status 500');
  }, patience);
  expect(await readable(roles.operator.sql)).not.toMatch(marked);
  expect(await served(runner)).not.toMatch(marked);
  expect(runner.stderr + runner.stdout).not.toMatch(marked);
});

test('an event that cannot be stored ends the runner with what is wrong, and nothing of the event', async () => {
  const { sql, receiver, start, subscribe, insert } = await setUp();
  receiver.reply({ status: 500 });
  const runner = await start();
  await subscribe('spills', {});
  await sql.unsafe(`
    alter table pgstream.webhook_deliveries
      add constraint nothing_is_stored check (octet_length(body) = 0)`);
  await insert();
  expect(await runner.exited).toMatchObject({ code: 1 });
  expect(runner.stderr).toContain('nothing_is_stored');
  expect(runner.stderr + runner.stdout).not.toMatch(marked);
});

test('a snapshot that fails over a row says how, and nothing of the row', async () => {
  const { sql, roles, start, subscribe } = await setUp();
  const name = `verify_${randomBytes(4).toString('hex')}`;
  await sql.unsafe(`
    create function ${name}(code text) returns integer language plpgsql immutable as $$
    begin
      if current_setting('application_name') = 'pgstream snapshot' then
        raise exception 'publication no good: %', code using detail = code, errcode = '42704';
      end if;
      return 1;
    end $$;
    create table coded (code text primary key);
    insert into coded select '${mark}' || n from generate_series(1, 9) n;
    create index on coded ((${name}('${mark}7')))`);
  const runner = await start();
  await subscribe('coded', { table_name: 'coded' });
  const id = await request(sql, ['coded'], { chunk_rows: 2 });
  await eventually(async () => {
    const [row] = await roles.operator.sql<{ state: string; reason: string }[]>`
      select state, reason from pgstream.snapshot_status where request = ${id}`;
    expect(row).toMatchObject({ state: 'failed', reason: 'undefined object (42704)' });
  }, patience);
  expect(await readable(roles.operator.sql)).not.toMatch(marked);
  expect(await served(runner)).not.toMatch(marked);
  expect(runner.stderr).toContain('undefined object (42704)');
  expect(runner.stderr + runner.stdout).not.toMatch(marked);
});

test('the log tells how a copy of a foreign table fails, and nothing of its rows', async () => {
  const pair = await createForeignPair();
  onTestFinished(() => pair.drop());
  const { local, remote, localUrl } = pair;
  await remote`create table item (id integer primary key, card text)`;
  await pair.importIt();
  await local`select pgstream.cache_foreign_table('shop.item', 'public.item',
    refresh_every => '1 second')`;
  await local`alter table public.item add check (card::integer > 0)`;
  await remote`insert into item values (1, ${mark})`;
  const runner = startRunner(['run', '--init'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: localUrl,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      PGSTREAM_LOG_LEVEL: 'trace',
    },
  });
  await runner.waitForLog(/invalid text representation \(22P02\).*could not be refreshed/);
  expect(runner.stderr + runner.stdout).not.toMatch(marked);
});
