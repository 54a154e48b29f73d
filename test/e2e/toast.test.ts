/**
 * Postgres does not log a TOASTed value that an update leaves as it is. It must never reach anybody as
 * null or as a placeholder.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { startDelivery, type Delivery } from '../helpers/delivery.js';

interface Cell {
  name: string;
  value: unknown;
}

interface Event {
  action: string;
  table: string;
  columns: Cell[] | null;
  identity: Cell[] | null;
  unchanged?: string[];
}

/** Nothing that compresses, so that it has to leave its row. */
function long(seed: string, length = 9_000): string {
  let text = '';
  for (let i = 0; text.length < length; i++) {
    text += createHash('sha256').update(`${seed}${i}`).digest('hex');
  }
  return text.slice(0, length);
}

const one = long('one');
const two = long('two');
const key = long('key', 2_500);
const otherKey = long('other', 2_500);

let database: TestDatabase;
let delivery: Delivery;
let bodies: string[];

const setUp = `
  create table by_default (id integer primary key, small integer, big text, bytes bytea, list text[],
    document jsonb);
  create table by_full (like by_default including all);
  alter table by_full replica identity full;
  create table by_index (id integer primary key, code text not null unique, small integer, big text);
  alter table by_index replica identity using index by_index_code_key;
  create table by_long_key (k text primary key, small integer, big text);
  alter table by_long_key alter k set storage external;
  create table "by ""quoted\\" (id integer primary key, "bi""g" text, "größe" text, small integer);
`;

/** The same steps for two tables; the values are in different TOAST tables afterwards. */
const steps = (table: string) => [
  `insert into ${table} values (1, 0, '${one}', '\\x${one}', '{${one},b}', '{"a":"${one}"}')`,
  `update ${table} set small = 1`,
  `update ${table} set big = '${two}'`,
  `update ${table} set big = null`,
  `update ${table} set big = '${one}', bytes = null, list = null, document = null`,
  `update ${table} set big = big || 'x'`,
  `update ${table} set big = big`,
  `update ${table} set id = 2`,
  `delete from ${table}`,
];

beforeAll(async () => {
  database = await createDatabase();
  delivery = await startDelivery(database);
  const { sql } = database;
  await sql.unsafe(setUp);
  for (const table of ['by_default', 'by_full']) {
    for (const step of steps(table)) await sql.unsafe(step);
  }
  for (const step of [
    `insert into by_index values (1, 'a', 0, '${one}')`,
    `update by_index set small = 1`,
    `update by_index set code = 'b'`,
    `update by_index set id = 2`,
    `insert into by_long_key values ('${key}', 0, '${one}')`,
    `update by_long_key set small = 1`,
    `update by_long_key set k = '${otherKey}'`,
    `delete from by_long_key`,
    `insert into "by ""quoted\\" values (1, '${one}', '${two}', 0)`,
    `update "by ""quoted\\" set small = 1`,
  ]) {
    await sql.unsafe(step);
  }
  bodies = await delivery.bodies();
});

afterAll(async () => {
  await delivery?.stop();
  await database?.drop();
});

const parse = (body: string) => (JSON.parse(body) as { Data: Event }).Data;
const eventsOf = (table: string) => bodies.map(parse).filter((event) => event.table === table);
const record = (cells: Cell[] | null) =>
  cells && Object.fromEntries(cells.map(({ name, value }) => [name, value]));

/** What an event says, in short. */
const said = ({ action, columns, identity, unchanged }: Event) => ({
  action,
  columns: record(columns),
  identity: record(identity),
  ...(unchanged && { unchanged }),
});

const array = `{${one},b}`;
const json = `{"a": "${one}"}`;

describe('a TOASTed value that an update leaves as it is', () => {
  test('is left out and named, with replica identity default', () => {
    const identity = { id: 1 };
    const rest = ['bytes', 'list', 'document'];
    const gone = { bytes: null, list: null, document: null };
    expect(eventsOf('by_default').map(said)).toEqual([
      {
        action: 'I',
        columns: { id: 1, small: 0, big: one, bytes: one, list: array, document: json },
        identity: null,
      },
      { action: 'U', columns: { id: 1, small: 1 }, identity, unchanged: ['big', ...rest] },
      { action: 'U', columns: { id: 1, small: 1, big: two }, identity, unchanged: rest },
      { action: 'U', columns: { id: 1, small: 1, big: null }, identity, unchanged: rest },
      { action: 'U', columns: { id: 1, small: 1, big: one, ...gone }, identity },
      { action: 'U', columns: { id: 1, small: 1, big: `${one}x`, ...gone }, identity },
      { action: 'U', columns: { id: 1, small: 1, ...gone }, identity, unchanged: ['big'] },
      { action: 'U', columns: { id: 2, small: 1, ...gone }, identity, unchanged: ['big'] },
      { action: 'D', columns: null, identity: { id: 2 } },
    ]);
  });

  test('is filled in from the old row, with replica identity full', () => {
    const all = { bytes: one, list: array, document: json };
    const gone = { bytes: null, list: null, document: null };
    const rows = [
      { id: 1, small: 0, big: one, ...all },
      { id: 1, small: 1, big: one, ...all },
      { id: 1, small: 1, big: two, ...all },
      { id: 1, small: 1, big: null, ...all },
      { id: 1, small: 1, big: one, ...gone },
      { id: 1, small: 1, big: `${one}x`, ...gone },
      { id: 1, small: 1, big: `${one}x`, ...gone },
      { id: 2, small: 1, big: `${one}x`, ...gone },
    ];
    expect(eventsOf('by_full').map(said)).toEqual([
      { action: 'I', columns: rows[0], identity: null },
      ...rows.slice(1).map((columns, i) => ({ action: 'U', columns, identity: rows[i] })),
      { action: 'D', columns: null, identity: rows.at(-1) },
    ]);
  });

  test('is left out and named, with a unique index as replica identity', () => {
    const unchanged = ['big'];
    expect(eventsOf('by_index').map(said)).toEqual([
      { action: 'I', columns: { id: 1, code: 'a', small: 0, big: one }, identity: null },
      { action: 'U', columns: { id: 1, code: 'a', small: 1 }, identity: { code: 'a' }, unchanged },
      { action: 'U', columns: { id: 1, code: 'b', small: 1 }, identity: { code: 'a' }, unchanged },
      { action: 'U', columns: { id: 2, code: 'b', small: 1 }, identity: { code: 'b' }, unchanged },
    ]);
  });

  test('is there when it is the key, since Postgres logs the key', () => {
    expect(eventsOf('by_long_key').map(said)).toEqual([
      { action: 'I', columns: { k: key, small: 0, big: one }, identity: null },
      { action: 'U', columns: { k: key, small: 1 }, identity: { k: key }, unchanged: ['big'] },
      { action: 'U', columns: { k: otherKey, small: 1 }, identity: { k: key }, unchanged: ['big'] },
      { action: 'D', columns: null, identity: { k: otherKey } },
    ]);
  });

  test('is named at the end of the body, after the metadata, in the order of the columns', () => {
    const body = bodies.find((one) => parse(one).table === 'by "quoted\\' && /"U"/.test(one))!;
    expect(body.slice(body.indexOf('"metadata"'))).toBe(
      '"metadata":{"schema_id":null,"table_pgstream_id":"","id_col_pgstream_id":null,' +
        '"version_col_pgstream_id":""},"unchanged":["bi\\"g","größe"]}}',
    );
  });

  test('is the only thing that makes a body have the key "unchanged"', () => {
    const marked = bodies.filter((body) => body.includes('"unchanged"'));
    const left = bodies.map(parse).filter(({ action, columns, table }) => {
      const insert = eventsOf(table)[0]!;
      return action === 'U' && columns!.length < insert.columns!.length;
    });
    expect(marked.map(parse)).toEqual(left);
  });
});
