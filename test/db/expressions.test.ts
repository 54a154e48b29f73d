import type postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import {
  acceptedFilters,
  acceptedPayloads,
  ordersTable,
  refusedFilters,
  refusedPayloads,
} from '../helpers/expression-cases.js';

let database: TestDatabase;
let sql: postgres.Sql;

beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
  await sql.unsafe(ordersTable);
  await sql.unsafe(`
    select pgstream.create_publications();
    create table keyed (id int primary key, status text, note text);
    create table bare (status text);
    create table composed (id int primary key, both_of pair, made int generated always as (id) stored);
    create table parted (id int, part int, note text, primary key (id, part)) partition by list (part);
    create table leaf partition of parted for values in (1)`);
});
afterAll(() => database.drop());
afterEach(() => sql`truncate pgstream.webhook_subscriptions`);

type Given = Record<string, string | boolean | null>;

async function subscribe(given: Given, by: postgres.ISql = sql): Promise<number> {
  const row = {
    url: 'https://example.com/',
    schema_name: 'public',
    table_name: 'orders',
    ...given,
  };
  const [made] = await by<{ id: number }[]>`
    insert into pgstream.webhook_subscriptions ${by(row)} returning id::integer`;
  return made!.id;
}

const stateOf = async (id: number) => {
  const [row] = await sql<{ state: string; last_error: string | null }[]>`
    select state, last_error from pgstream.webhook_status where id = ${id}`;
  return row!;
};

/** What anybody could have left behind. */
const traces = async () => {
  const [row] = await sql<{ ran: number; views: number; versions: number; errors: number }[]>`
    select (select count(*) from ran)::integer as ran,
      (select count(*) from pg_class where relname like 'probe%')::integer as views,
      (select count(*) from pgstream.schema_log)::integer as versions,
      (select count(*) from pgstream.ddl_error)::integer as errors`;
  return row;
};

test.each(acceptedFilters)('the filter %s is taken', async (filter) => {
  await subscribe({ filter });
});

test.each(acceptedPayloads)('the payload %s is taken', async (payload) => {
  await subscribe({ payload });
});

describe('nothing of what is refused has an effect:', () => {
  test.each(refusedFilters)('the filter $expression', async ({ expression, code, message }) => {
    const before = await traces();
    await expect(subscribe({ filter: expression })).rejects.toMatchObject({
      code: expect.stringMatching(new RegExp(`^(${code})$`)),
      message: expect.stringMatching(message),
      hint: expect.stringMatching(/\w/),
    });
    expect(await traces()).toEqual(before);
  });

  test.each(refusedPayloads)('the payload $expression', async ({ expression, code, message }) => {
    const before = await traces();
    await expect(subscribe({ payload: expression })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      hint: expect.stringMatching(/\w/),
    });
    expect(await traces()).toEqual(before);
  });
});

test('what is wrong is told with the expression, the columns and the next thing to write', async () => {
  await expect(subscribe({ table_name: 'keyed', filter: 'new.stats = 1' })).rejects.toMatchObject({
    code: '42703',
    message: 'bad filter for public.keyed: column new.stats does not exist',
    detail: 'filter: new.stats = 1',
    hint:
      'Perhaps you meant to reference the column "new.status". Write new.<column>, old.<column> or ' +
      'op. Columns of public.keyed: id, status, note.',
  });
});

test('settings of the session that subscribes change nothing', async () => {
  await sql.begin(async (tx) => {
    await tx`set local standard_conforming_strings = off`;
    await tx`set local search_path = public, pg_catalog`;
    await tx`set local transform_null_equals = on`;
    await expect(
      tx.savepoint((sp) => subscribe({ filter: `lower(new.feeling) = 'x'` }, sp)),
    ).rejects.toMatchObject({ code: '42501' });
    await subscribe({ filter: `new.status = 'a\\'` }, tx);
  });
  expect(await sql`select from ran`).toHaveLength(0);
});

describe('a table', () => {
  test.each([
    [{ table_name: '' }, '0A000', /needs one table/],
    [{ table_name: 'ord*' }, '0A000', /needs one table/],
    [{ schema_name: '' }, '0A000', /needs one table/],
    [{ table_name: 'nowhere' }, '42P01', /there is no public.nowhere/],
  ])('is needed: %j', async (given, code, message) => {
    await expect(subscribe({ ...given, filter: 'true' })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      hint: expect.stringMatching(/\w/),
    });
  });

  test('that logs the old value of its key only has no other old columns', async () => {
    const old = { table_name: 'keyed', filter: `old.status = 'new'` };
    await expect(subscribe(old)).rejects.toMatchObject({
      code: '55000',
      message: 'bad filter for public.keyed: the old value of status is not logged',
      hint: expect.stringContaining('alter table public.keyed replica identity full') as string,
    });
    await expect(subscribe({ ...old, table_name: 'bare' })).rejects.toMatchObject({
      code: '55000',
    });
    await expect(
      subscribe({ table_name: 'parted', filter: 'old.note is null' }),
    ).rejects.toMatchObject({ code: '55000' });
    await subscribe({ table_name: 'parted', filter: 'old.part = 1' });
    await subscribe({ ...old, filter: 'old.id = 1' });
    await subscribe({ ...old, event_types: '{I,T}', name: 'inserts' });
  });

  test('may have columns that no expression can use', async () => {
    const composed = { table_name: 'composed' };
    for (const filter of ['new.both_of is null', 'new.made = 1'].slice(
      0,
      (await serverVersion()) < 180_000 ? 2 : 1,
    )) {
      await expect(subscribe({ ...composed, filter })).rejects.toMatchObject({
        code: '42703',
        hint: expect.stringContaining('both_of (not usable: of type') as string,
      });
    }
    await expect(subscribe({ ...composed, payload: 'to_jsonb(new)' })).rejects.toMatchObject({
      code: '0A000',
      message: expect.stringContaining('both_of') as string,
    });
    await subscribe({ ...composed, filter: 'new.id = 1' });
  });
});

async function serverVersion(): Promise<number> {
  const [row] = await sql<
    { v: number }[]
  >`select current_setting('server_version_num')::integer as v`;
  return row!.v;
}

test('columns that the owner may not read are refused', async () => {
  await sql.unsafe(`create role reader_of_id; grant select (id) on keyed to reader_of_id`);
  try {
    const given = { table_name: 'keyed', owner: 'reader_of_id' };
    await expect(subscribe({ ...given, filter: `new.note = 'x'` })).rejects.toMatchObject({
      code: '42501',
      message: 'bad filter for public.keyed: reader_of_id may not read note',
      hint: 'grant select (note) on public.keyed to reader_of_id;',
    });
    await expect(subscribe({ ...given, payload: 'to_jsonb(new)' })).rejects.toMatchObject({
      code: '42501',
    });
    await subscribe({ ...given, filter: 'new.id > 1' });
  } finally {
    await sql.unsafe('drop owned by reader_of_id; drop role reader_of_id');
  }
});

describe('when the table changes', () => {
  const changes: [what: string, change: string, reason: RegExp, repair: string][] = [
    [
      'drops',
      'alter table changing drop column status',
      /new\.status does not exist/,
      'alter table changing add column status text',
    ],
    [
      'renames',
      'alter table changing rename status to state',
      /new\.status does not exist/,
      'alter table changing rename state to status',
    ],
    [
      'retypes',
      'alter table changing alter status type int using 1',
      /invalid input syntax/,
      'alter table changing alter status type text',
    ],
    [
      'loses the old values of',
      'alter table changing replica identity default',
      /old value of status/,
      'alter table changing replica identity full',
    ],
    [
      'disappears with',
      'drop table changing',
      /there is no public\.changing/,
      'create table changing (id int primary key, status text); alter table changing replica identity full',
    ],
    [
      'moves away with',
      'alter table changing rename to moved',
      /there is no public\.changing/,
      'alter table moved rename to changing',
    ],
  ];
  test.each(changes)(
    'and %s a column, the subscription is invalid until it fits',
    async (_, change, reason, repair) => {
      await sql.unsafe(`
      create table changing (id int primary key, status text, note text);
      alter table changing replica identity full`);
      const id = await subscribe({
        table_name: 'changing',
        filter: `new.status = 'a' and old.status is distinct from 'a'`,
      });
      await sql.unsafe('alter table changing drop column note');
      expect(await stateOf(id)).toMatchObject({ state: 'starting', last_error: null });
      await sql.unsafe(change);
      expect(await stateOf(id)).toEqual({
        state: 'invalid',
        last_error: expect.stringMatching(reason) as string,
      });
      await sql`update pgstream.webhook_subscriptions set rate = 5 where id = ${id}`;
      expect(await stateOf(id)).toMatchObject({ state: 'invalid' });
      await sql.unsafe(repair);
      expect(await stateOf(id)).toMatchObject({ state: 'starting', last_error: null });
      await sql`drop table changing`;
      expect(await sql`select from pgstream.ddl_error`).toHaveLength(0);
    },
  );

  test('and somebody holds the subscription, the statement succeeds and reconcile follows', async () => {
    await sql`create table changing (id int primary key, status text)`;
    const id = await subscribe({ table_name: 'changing', filter: `new.status = 'a'` });
    await sql.begin(async (tx) => {
      await tx`select from pgstream.webhook_subscriptions where id = ${id} for update`;
      await sql`alter table changing drop column status`;
    });
    expect(await stateOf(id)).toMatchObject({ state: 'starting' });
    await sql`select pgstream.reconcile()`;
    expect(await stateOf(id)).toMatchObject({ state: 'invalid' });
    await sql`drop table changing`;
  });

  test('the expression can be changed instead', async () => {
    await sql`create table changing (id int primary key, status text)`;
    const id = await subscribe({ table_name: 'changing', filter: `new.status = 'a'` });
    await sql`alter table changing drop column status`;
    await expect(
      sql`update pgstream.webhook_subscriptions set filter = 'new.stat = 1' where id = ${id}`,
    ).rejects.toMatchObject({ code: '42703' });
    await sql`update pgstream.webhook_subscriptions set filter = 'new.id = 1' where id = ${id}`;
    expect(await stateOf(id)).toMatchObject({ state: 'starting', last_error: null });
    await sql`drop table changing`;
  });
});

test('nobody writes a program but the check', async () => {
  const id = await subscribe({ filter: 'new.id = 1' });
  await sql`
    update pgstream.webhook_subscriptions
    set program = '{"filter": "public.evil()"}', invalid_reason = 'x' where id = ${id}`;
  const [row] = await sql`
    select program ->> 'filter' as filter, invalid_reason from pgstream.webhook_subscriptions`;
  expect(row).toEqual({ filter: 'new.id = 1', invalid_reason: null });
});

describe('a transform', () => {
  test('may be called once an administrator has registered it, and until then no more', async () => {
    const payload = 'public.shape(to_jsonb(new))';
    await sql.unsafe(`
      create function shape(jsonb) returns jsonb language plpgsql as $$
      begin insert into ran values ('shape'); return $1; end $$`);
    await expect(subscribe({ payload })).rejects.toMatchObject({ code: '42501' });
    await sql`select pgstream.register_transform('shape(jsonb)')`;
    const id = await subscribe({ payload });
    const [row] = await sql`select program from pgstream.webhook_subscriptions`;
    expect(row!['program']).toMatchObject({ foreign: true });
    await sql`select pgstream.unregister_transform('shape(jsonb)')`;
    expect(await stateOf(id)).toEqual({
      state: 'invalid',
      last_error: expect.stringContaining('public.shape(jsonb)') as string,
    });
    expect(await sql`select from ran`).toHaveLength(0);
  });

  test('is a plain function', async () => {
    for (const name of ['public.evil_definer()', 'generate_series(integer,integer)', 'count(*)']) {
      await expect(
        sql`select pgstream.register_transform(${name}::text::regprocedure)`,
      ).rejects.toMatchObject({ code: expect.stringMatching(/42809|42883|22P02|42601/) as string });
    }
  });
});

describe('a preview', () => {
  const preview = async (id: number, sides: string) => {
    const [row] = await sql.unsafe(`select * from pgstream.preview(${id}, ${sides})`);
    return row!;
  };

  test('tells the verdict and the body of a row', async () => {
    const id = await subscribe({
      table_name: 'keyed',
      filter: `new.status = 'paid' and old.id is null`,
      payload: `jsonb_build_object('id', new.id, 'op', op)`,
    });
    await sql`update pgstream.webhook_subscriptions set headers = '{"x-mine": "1"}'`;
    expect(await preview(id, `new => '{"id": 1, "status": "paid"}'`)).toEqual({
      op: 'I',
      sent: true,
      body: '{"id": 1, "op": "I"}',
      headers: {
        'x-mine': '1',
        'content-type': 'application/json',
        'webhook-id': `evt_preview_1_${id}`,
        'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
      },
      problem: null,
      signature_note: 'the subscription has no secret',
    });
    expect(await preview(id, `new => '{"id": 1}', old => '{"id": 1}'`)).toMatchObject({
      op: 'U',
      sent: false,
      body: null,
    });
    await sql`update pgstream.webhook_subscriptions set event_types = '{D}' where id = ${id}`;
    expect(await preview(id, `new => '{"id": 1, "status": "paid"}'`)).toMatchObject({
      sent: false,
    });
  });

  test('tells why there is no verdict', async () => {
    const id = await subscribe({ filter: '1 / new.id = 1' });
    expect(await preview(id, `new => '{"id": 0}'`)).toMatchObject({
      sent: false,
      problem: 'division by zero',
    });
    await expect(preview(0, `new => '{}'`)).rejects.toMatchObject({ code: 'P0002' });
    const all = await subscribe({ schema_name: '', table_name: '' });
    await expect(preview(all, `new => '{}'`)).rejects.toMatchObject({ code: '0A000' });
  });

  test('runs nothing that the owner of a type could have made of it', async () => {
    await sql.unsafe(`
      create role maker; create schema made authorization maker;
      create type made.kind as enum ('a'); alter type made.kind owner to maker;
      create function made.evil(made.kind) returns json language plpgsql as
        $$ begin insert into ran values ('json'); return '1'; end $$;
      create cast (made.kind as json) with function made.evil(made.kind);
      create table kinds (id int primary key, kind made.kind);
      create role looker; grant looker to maker`);
    try {
      const id = await subscribe({ table_name: 'kinds', payload: 'to_jsonb(new)' });
      const by = `new => '{"id": 1, "kind": "a"}'`;
      expect(await preview(id, by)).toMatchObject({
        sent: null,
        problem: 'type made.kind is in the hands of maker',
      });
      expect(await sql`select from ran`).toHaveLength(0);
    } finally {
      await sql.unsafe('drop table kinds; drop owned by maker cascade; drop role maker, looker');
    }
  });
});
