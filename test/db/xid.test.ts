import fc from 'fast-check';
import type postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
let sql: postgres.Sql;

beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());

const known = {
  id: 'cv9al8qhi0j00i9chq80',
  bytes: [103, 210, 170, 163, 81, 144, 38, 0, 73, 44, 142, 144],
};

test('a known id encodes and decodes as rs/xid does it', async () => {
  const [row] = await sql`
    select pgstream.xid_decode(${known.id}) as bytes,
           pgstream.xid_encode(${known.bytes}) as id,
           pgstream.xid_time(${known.id})::text as time,
           pgstream.xid_machine(${known.id}) as machine,
           pgstream.xid_pid(${known.id}) as pid,
           pgstream.xid_counter(${known.id}) as counter
    from (select set_config('timezone', 'UTC', false)) utc`;
  expect(row).toEqual({
    bytes: known.bytes,
    id: known.id,
    time: '2025-03-13 09:51:31+00',
    machine: [81, 144, 38],
    pid: 73,
    counter: 2920080,
  });
});

test('the smallest and the largest id encode to the ends of the alphabet', async () => {
  const [row] = await sql`
    select pgstream.xid_encode(array_fill(0, '{12}')) as least,
           pgstream.xid_encode(array_fill(255, '{12}')) as most`;
  expect(row).toEqual({ least: '0'.repeat(20), most: `${'v'.repeat(19)}g` });
});

test('any 12 bytes come back from their id, and ids sort as their bytes', async () => {
  const bytes = fc.array(fc.nat(255), { minLength: 12, maxLength: 12 });
  const ids = fc.sample(bytes, { numRuns: 500, seed: 20_250_313 });
  const rows = await sql<{ given: number[]; back: number[]; rank: string; expected: string }[]>`
    select given, pgstream.xid_decode(id) as back,
           rank() over (order by id::text collate "C") as rank,
           rank() over (order by given) as expected
    from (
      select (select array_agg(b::integer order by n)
              from jsonb_array_elements_text(e) with ordinality as j(b, n)) as given
      from jsonb_array_elements(${sql.json(ids)}) e
    ) bytes, lateral pgstream.xid_encode(given) id`;
  expect(rows).toHaveLength(500);
  for (const { given, back, rank, expected } of rows) {
    expect(back).toEqual(given);
    expect(rank).toBe(expected);
  }
});

test.each(['1970-01-01 00:00:00', '2038-01-19 03:14:08', '2100-01-01 00:00:00'])(
  'an id made for %s has that second',
  async (moment) => {
    const [row] = await sql`
      select pgstream.xid_time(pgstream.xid((${moment}::text || '.999 UTC')::timestamptz))
             = (${moment}::text || ' UTC')::timestamptz as same`;
    expect(row).toEqual({ same: true });
  },
);

test('an id names the second of its transaction, the cluster, the backend and a counter', async () => {
  const rows = await sql.begin(
    (tx) => tx`
      select pgstream.xid_time(id) = date_trunc('second', now()) as time,
             pgstream.xid_pid(id) = pg_backend_pid() & 65535 as pid,
             (select sum(b * 256 ^ (3 - n))::bigint
              from unnest(pgstream.xid_machine(id)) with ordinality as m(b, n))
               = (select system_identifier & 16777215 from pg_control_system()) as machine,
             pgstream.xid_counter(id) as counter
      from (select pgstream.xid() as id from generate_series(1, 2) offset 0) ids`,
  );
  const [first, second] = rows as unknown as { counter: number }[];
  expect(rows[0]).toMatchObject({ time: true, pid: true, machine: true });
  expect((second!.counter - first!.counter + 2 ** 24) % 2 ** 24).toBe(1);
});

test.each([
  ['too short', 'cv9al8qhi0j00i9chq8', '23514'],
  ['too long', 'cv9al8qhi0j00i9chq80g', '22001'],
  ['upper case', 'CV9AL8QHI0J00I9CHQ80', '23514'],
  ['outside the alphabet', 'cv9al8qhi0j00i9chq8w', '23514'],
  ['empty', '', '23514'],
  ['two lines', 'cv9al8qhi0j00i9chq8\n', '23514'],
])('text that is %s is no id', async (_, text, code) => {
  await sql`create table if not exists ids (id pgstream.xid)`;
  await expect(sql`insert into ids values (${text})`).rejects.toMatchObject({
    code,
    ...(code === '23514' && { constraint_name: 'twenty_base32hex_digits' }),
  });
});

test('fewer than 12 bytes make no id', async () => {
  await expect(sql`select pgstream.xid_encode('{1,2,3}')`).rejects.toMatchObject({ code: '23514' });
});

test('null makes null', async () => {
  const [row] = await sql`
    select pgstream.xid_encode(null) as id, pgstream.xid_decode(null) as bytes,
           pgstream.xid_time(null) as time, pgstream.xid_counter(null) as counter`;
  expect(row).toEqual({ id: null, bytes: null, time: null, counter: null });
});

test(
  'twenty thousand ids are all different, also when the counter starts anew',
  { timeout: 120_000 },
  async () => {
    await sql`select setval('pgstream.xid_serial', 16777215 - 10000)`;
    const [row] = await sql`
    select count(distinct id)::integer as n, min(length(id))::integer as digits
    from (select pgstream.xid()::text as id from generate_series(1, 20000)) ids`;
    expect(row).toEqual({ n: 20_000, digits: 20 });
  },
);
