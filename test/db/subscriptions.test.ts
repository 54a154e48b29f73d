import fc from 'fast-check';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { nameMatcher } from '../../src/subscriptions/registry.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
let sql: postgres.Sql;
let notices: postgres.Notice[] = [];

beforeAll(async () => {
  database = await createDatabase();
  const onnotice = (notice: postgres.Notice) => void notices.push(notice);
  sql = postgres(database.url, { max: 1, onnotice });
  await sql.unsafe(`
    select pgstream.create_publications();
    create table orders (id int primary key, n int);
    create table keyless (n int);
    create unlogged table fast (id int primary key);
    create view seen as select * from orders;
    create materialized view kept as select * from orders;
    create sequence numbers;
    create table parted (id int primary key) partition by range (id);
    create table part partition of parted default partition by range (id);
    create table leaf partition of part default`);
  await sql.unsafe(`create foreign data wrapper nowhere; create server far foreign data wrapper
    nowhere; create foreign table foreign_orders (id int) server far`);
});
afterAll(async () => {
  await sql.end();
  await database.drop();
});
afterEach(async () => {
  await sql`truncate pgstream.webhook_subscriptions`;
  notices = [];
});

const url = 'https://example.com/hook';

const subscribe = (row: Record<string, unknown>) =>
  sql`insert into pgstream.webhook_subscriptions ${sql({ url, ...row })}`;

const toTable = (table: string, more: Record<string, unknown> = {}) =>
  subscribe({ schema_name: 'public', table_name: table, ...more });

test('a url alone subscribes to everything', async () => {
  const [row] = await sql`
    insert into pgstream.webhook_subscriptions (url) values (${url})
    returning *, now() = created_at as just_now`;
  expect(row).toMatchObject({
    url,
    schema_name: '',
    table_name: '',
    event_types: null,
    name: '',
    headers: {},
    max_in_flight: null,
    timeout: null,
    inject_metadata: false,
    just_now: true,
  });
});

test('the same again is refused with the way out in the name of the constraint', async () => {
  await toTable('orders');
  await expect(toTable('orders', { event_types: ['I'] })).rejects.toMatchObject({
    code: '23505',
    constraint_name: 'subscribed_already_use_on_conflict_do_update',
  });
  await toTable('orders', { name: 'second' });
  await sql`
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name, event_types)
    values (${url}, 'public', 'orders', '{I}')
    on conflict (url, schema_name, table_name, name)
    do update set event_types = excluded.event_types`;
  const rows = await sql`
    select name, event_types from pgstream.webhook_subscriptions order by name`;
  expect([...rows]).toEqual([
    { name: '', event_types: ['I'] },
    { name: 'second', event_types: null },
  ]);
});

describe('a url', () => {
  test.each([
    'http://localhost',
    'HTTPS://example.com:65535/a/b?c=d&e=%20#f',
    'http://[::1]:8080/',
    'http://127.0.0.1:1/@',
    'https://bücher.example/ü',
  ])('such as %s is taken, and is one for the sender too', async (text) => {
    await subscribe({ url: text });
    expect(new URL(text).protocol).toMatch(/^https?:$/);
  });

  test.each([
    ['', 'in full'],
    ['example.com/hook', 'in full'],
    ['/hook', 'in full'],
    ['ftp://example.com/', 'in full'],
    ['file:///etc/passwd', 'in full'],
    ['javascript:alert(1)', 'in full'],
    ['http:/example.com', 'in full'],
    ['http://', 'in full'],
    ['http:///hook', 'in full'],
    ['http://:80/', 'in full'],
    ['http://example.com:0/', 'in full'],
    ['http://example.com:65536/', 'in full'],
    ['http://example.com:99999999999999999999/', 'in full'],
    ['http://example.com:80x/', 'in full'],
    ['http://[::1/', 'in full'],
    ['http://[:::::]/', 'in full'],
    ['http://exa<mple.com/', 'in full'],
    ['http://256.256.256.256/', 'in full'],
    ['http://%/', 'in full'],
    ['http://user:secret@example.com/', 'headers'],
    ['http://good.example\\@evil.example/', 'headers'],
    ['http://example.com/a b', '%20'],
    [' http://example.com/', '%20'],
    ['http://example.com/\r\nhost: evil', '%20'],
    ['http://example.com/\u0085', '%20'],
    ['http://exam\tple.com/', '%20'],
  ])('%j is refused', async (text, hint) => {
    const refused = subscribe({ url: text });
    await expect(refused).rejects.toMatchObject({
      code: '22023',
      message: expect.stringMatching(/^the url /),
      hint: expect.stringContaining(hint),
    });
    await expect(refused).rejects.not.toMatchObject({ detail: expect.stringContaining('secret') });
  });
});

describe('what could never work is refused', () => {
  test.each([
    [{ event_types: ['I', 'X'] }, 'unknown event type "X"', 'I (insert)'],
    [{ event_types: ['i'] }, 'unknown event type "i"', 'I (insert)'],
    [{ headers: [] }, 'headers is not a JSON object', 'authorization'],
    [{ headers: { 'a b': 'c' } }, '"a b" is not a header name', 'letters'],
    [{ headers: { '': 'c' } }, '"" is not a header name', 'letters'],
    [{ headers: { 'a\r\nb': 'c' } }, 'is not a header name', 'letters'],
    [{ headers: { a: 'b\r\nc: d' } }, 'the value of header "a"', 'line breaks'],
    [{ headers: { a: 1 } }, 'the value of header "a"', '"value"'],
    [{ headers: { a: null } }, 'the value of header "a"', '"value"'],
    [{ headers: { a: 'ü' } }, 'the value of header "a"', 'encode'],
    [{ headers: { 'Content-Length': '1' } }, 'set by pgstream', 'Leave it out'],
    [{ headers: { HOST: 'evil' } }, 'set by pgstream', 'Leave it out'],
    [{ headers: { 'Webhook-Id': '1' } }, 'set by pgstream', 'Leave it out'],
    [{ headers: { 'Pgstream-Event-Ids': '1' } }, 'set by pgstream', 'Leave it out'],
  ])('%j', async (row, message, hint) => {
    const values = {
      url,
      ...row,
      ...('headers' in row && { headers: sql.json(row.headers as never) }),
    };
    await expect(
      sql`insert into pgstream.webhook_subscriptions ${sql(values)}`,
    ).rejects.toMatchObject({
      code: '22023',
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    });
  });

  test.each([
    [{ max_in_flight: 0 }, 'max_in_flight_is_between_1_and_1000'],
    [{ max_in_flight: 1001 }, 'max_in_flight_is_between_1_and_1000'],
    [{ timeout: '9 ms' }, 'timeout_is_between_10ms_and_1h'],
    [{ timeout: '61 min' }, 'timeout_is_between_10ms_and_1h'],
    [{ timeout: '-1 s' }, 'timeout_is_between_10ms_and_1h'],
  ])('%j', async (row, constraint) => {
    await expect(subscribe(row)).rejects.toMatchObject({
      code: '23514',
      constraint_name: constraint,
    });
  });

  test.each([
    ['public', 'seen', 'Subscribe to the tables behind it.'],
    ['public', 'kept', 'Subscribe to the tables behind it.'],
    ['public', 'fast', 'Subscribe to the tables behind it.'],
    ['public', 'foreign_orders', 'Subscribe to the tables behind it.'],
    ['public', 'numbers', 'Subscribe to the tables behind it.'],
    ['pg_catalog', 'pg_class', 'only pgstream.schema_log'],
    ['information_schema', '', 'only pgstream.schema_log'],
    ['pg_temp', 'mine', 'only pgstream.schema_log'],
    ['pgstream', '', 'only pgstream.schema_log'],
    ['pgstream', 'webhook_subscriptions', 'only pgstream.schema_log'],
  ])('a subscription to %s.%s', async (schema, table, hint) => {
    await expect(subscribe({ schema_name: schema, table_name: table })).rejects.toMatchObject({
      code: '0A000',
      hint: expect.stringContaining(hint),
    });
  });

  test('a change of a subscription likewise', async () => {
    await toTable('orders');
    await expect(
      sql`update pgstream.webhook_subscriptions set url = 'nowhere'`,
    ).rejects.toMatchObject({ code: '22023' });
    await expect(
      sql`update pgstream.webhook_subscriptions set table_name = 'seen'`,
    ).rejects.toMatchObject({ code: '0A000' });
  });
});

describe('what may surprise is said', () => {
  test.each([
    ['no_such_table', {}, 'NOTICE', 'there is no table public.no_such_table yet', 'its creation'],
    ['no_such_*', {}, 'NOTICE', 'no table matches public.no_such_* yet', 'their creation'],
    ['leaf', {}, 'NOTICE', 'leaf is a partition', 'Subscribe to public.parted.'],
    [
      'keyless',
      {},
      'WARNING',
      'no replica identity',
      'alter table public.keyless replica identity',
    ],
    ['keyless', { event_types: ['D'] }, 'WARNING', 'no replica identity', 'primary key'],
  ])('%s %j', async (table, more, severity, message, hint) => {
    await sql`set search_path = pg_catalog`;
    await toTable(table, more);
    await sql`reset search_path`;
    expect(notices).toMatchObject([
      { severity, message: expect.stringContaining(message), hint: expect.stringContaining(hint) },
    ]);
  });

  test.each([
    ['orders', {}],
    ['keyless', { event_types: ['I', 'T'] }],
    ['o*', {}],
  ])('nothing of %s %j', async (table, more) => {
    await toTable(table, more);
    await subscribe({ schema_name: 'pgstream', table_name: 'schema_log' });
    expect(notices).toEqual([]);
  });
});

test('each change of a subscription is recorded, each deletion by TRUNCATE too', async () => {
  const [before] = await sql`select max(id) as id from pgstream.subscription_changes`;
  await toTable('orders', { event_types: ['I'], timeout: '1.5 s', max_in_flight: 3 });
  await toTable('keyless');
  await sql`update pgstream.webhook_subscriptions set name = name || 'x', inject_metadata = true`;
  await sql`delete from pgstream.webhook_subscriptions where table_name = 'keyless'`;
  await sql`truncate pgstream.webhook_subscriptions`;
  await sql`truncate pgstream.webhook_subscriptions`;
  const rows = await sql`
    select dense_rank() over (order by subscription)::integer as nth, definition, commit_lsn
    from pgstream.subscription_changes where id > ${before!['id']} order by id`;
  const orders = {
    url,
    schema: 'public',
    table: 'orders',
    eventTypes: ['I'],
    headers: {},
    maxInFlight: 3,
    timeoutMs: 1500,
    injectMetadata: false,
  };
  const keyless = {
    ...orders,
    table: 'keyless',
    eventTypes: [],
    maxInFlight: null,
    timeoutMs: null,
  };
  const injected = { injectMetadata: true };
  expect(rows.map(({ nth, definition }) => [nth, definition])).toEqual([
    [1, expect.objectContaining(orders)],
    [2, expect.objectContaining(keyless)],
    [1, expect.objectContaining({ ...orders, ...injected })],
    [2, expect.objectContaining({ ...keyless, ...injected })],
    [2, null],
    [1, null],
  ]);
  expect(rows.map(({ commit_lsn: lsn }) => lsn as unknown)).toEqual(Array(6).fill(null));
});

test('event types are one list without gaps, however they are written', async () => {
  await expect(
    sql`insert into pgstream.webhook_subscriptions (url, event_types) values (${url}, '{I,NULL}')`,
  ).rejects.toMatchObject({ code: '22023', message: 'unknown event type null' });
  await sql`
    insert into pgstream.webhook_subscriptions (url, event_types) values (${url}, '{{I},{U}}')`;
  const [row] = await sql`
    select definition -> 'eventTypes' as types from pgstream.subscription_changes
    order by id desc limit 1`;
  expect(row).toEqual({ types: ['I', 'U'] });
});

test('names match patterns in SQL as they do in the runner', async () => {
  const character = fc.oneof(
    fc.constantFrom(
      '*',
      '?',
      '%',
      '_',
      '\\',
      '.',
      '^',
      '$',
      '[',
      ']',
      '(',
      ')',
      '{',
      '|',
      '+',
      '-',
    ),
    fc.constantFrom(
      '\n',
      '\r',
      '\u2028',
      ' ',
      'a',
      'A',
      'b',
      'ß',
      'é',
      'e\u0301',
      '😀',
      '\u{10ffff}',
    ),
  );
  const text = fc.array(character, { maxLength: 6 }).map((parts) => parts.join(''));
  const samePair = fc.tuple(text, text).map(([name, noise]) => [name, `${name}${noise}`] as const);
  const pairs = fc.sample(fc.oneof(fc.tuple(text, text), samePair), { numRuns: 3000, seed: 7 });
  const rows = await sql<{ name: string; pattern: string; matches: boolean }[]>`
    select p ->> 0 as name, p ->> 1 as pattern,
           pgstream._name_matches(p ->> 0, p ->> 1) as matches
    from jsonb_array_elements(${sql.json(pairs as never)}) p`;
  expect(rows).toHaveLength(pairs.length);
  const different = rows.filter(
    ({ name, pattern, matches }) => nameMatcher(pattern)(name) !== matches,
  );
  expect(different).toEqual([]);
  expect(rows.filter(({ matches }) => matches).length).toBeGreaterThan(100);
});
