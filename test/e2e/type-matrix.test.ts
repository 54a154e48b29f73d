/**
 * The heart of the contract: what a webhook brings is, byte for byte, what wal2json says of the same
 * row, for every type that can be stored, every action and every kind of replica identity.
 */
import { createHash } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { startDelivery, type Delivery } from '../helpers/delivery.js';
import {
  literal,
  tableStory,
  typeColumns,
  typeGroups,
  typesWithoutValues,
} from '../helpers/type-tables.js';
import { typeDefinitions } from '../helpers/type-values.js';
import {
  columnsOfTables,
  createOracle,
  expectedBody,
  hasWal2json,
  pinnedSettings,
  readOracle,
  type Differences,
} from '../helpers/wal2json.js';

/** What is allowed to differ from wal2json; nothing else is. */
const differences: Differences = {
  omitted: ['app.generated.twice', 'app.generated.loud'],
  roots: { 'app.low': 'app.split', 'app.high': 'app.split' },
  quotedTypes: { char: '"char"', bit: '"bit"', 'Mood face': '"Mood face"' },
};

/** Everything that could change how a value is printed, set against us. */
const hostileSettings = {
  datestyle: 'SQL, DMY',
  intervalstyle: 'iso_8601',
  timezone: 'Asia/Kolkata',
  extra_float_digits: '0',
  bytea_output: 'escape',
};
const hostileDatabaseSettings = {
  ...hostileSettings,
  search_path: 'app, pg_catalog',
  client_encoding: 'LATIN1',
};

/** Does not fit into its row, and does not compress. */
const long = literal(
  Array.from({ length: 99 }, (_, i) => createHash('sha512').update(`${i}`).digest('hex')).join(''),
);

const identities = ['default', 'full', 'index'];

const tableOf = (group: string, identity: string) => `${group.replaceAll(' ', '_')}_${identity}`;

const clause = (table: string, identity: string) =>
  identity === 'index' ? `using index ${table}_code_key` : identity;

/** What types have nothing to do with. */
const others = [
  `create table app.generated (id integer primary key, v text,
    twice integer generated always as (id * 2) stored,
    loud text generated always as (upper(v)) stored, w text)`,
  `insert into app.generated values (1, 'a', default, default, 'b')`,
  `update app.generated set v = 'c'`,
  `alter table app.generated replica identity full`,
  `update app.generated set id = 2`,
  `delete from app.generated`,
  `create table app.split (id integer primary key, v text) partition by range (id)`,
  `create table app.low partition of app.split for values from (0) to (10)`,
  `create table app.high partition of app.split for values from (10) to (20)`,
  `insert into app.split values (1, 'a'), (11, 'b')`,
  `insert into app.low values (3, 'directly')`,
  `update app.split set v = 'c'`,
  `update app.split set id = 12 where id = 1`,
  `delete from app.split where id = 11`,
  `insert into app.split values (2, 'a'), (13, 'b')`,
  `truncate app.low`,
  `truncate app.split`,
  ...identities.flatMap((identity) => [
    `create table app.toasted_${identity} (id integer primary key, v text,
      code text not null unique, w bytea, x integer)`,
    `alter table app.toasted_${identity} replica identity ${clause(`toasted_${identity}`, identity)}`,
    `insert into app.toasted_${identity} values (1, ${long}, 'a', ${long}, 0)`,
    `update app.toasted_${identity} set x = 1`,
    `update app.toasted_${identity} set v = 'short', id = 2`,
    `update app.toasted_${identity} set v = ${long}, code = 'b'`,
    `update app.toasted_${identity} set w = null`,
    `delete from app.toasted_${identity}`,
  ]),
  `create table app.keyless (v text, w integer[])`,
  `insert into app.keyless values ('a', '{1}'), (null, null)`,
  `truncate app.keyless`,
  `create schema "odd ""schema\\"`,
  `create table "odd ""schema\\"."táb\tle" ("a ""b""\\" integer, "\u{1f600}" text, primary key ("a ""b""\\"))`,
  `insert into "odd ""schema\\"."táb\tle" values (1, 'a')`,
  `update "odd ""schema\\"."táb\tle" set "a ""b""\\" = 2`,
  `delete from "odd ""schema\\"."táb\tle"`,
  `create table app.one (id integer primary key)`,
  `create table app.two (id integer primary key)`,
  `begin; insert into app.one values (1); savepoint s; insert into app.one values (2);
   rollback to s; insert into app.two select generate_series(1, 3); commit`,
  `begin; insert into app.one values (9); rollback`,
  `truncate app.one, app.two`,
];

describe.runIf(await hasWal2json('the type matrix'))('beside wal2json', () => {
  let database: TestDatabase;
  let delivery: Delivery;
  let missing: string[] = [];
  let expected: string[] = [];
  let received: string[] = [];

  beforeAll(async () => {
    database = await createDatabase();
    for (const [name, value] of Object.entries(hostileDatabaseSettings)) {
      const to = name === 'search_path' ? value : literal(value);
      await database.sql.unsafe(`alter database ${database.name} set ${name} = ${to}`);
    }
    const oracle = postgres(database.url, { max: 1, connection: pinnedSettings });
    const writer = postgres(database.url, {
      max: 1,
      connection: hostileSettings,
      onnotice: () => undefined,
    });
    try {
      await createOracle(oracle);
      delivery = await startDelivery(database);
      await writer.unsafe(typeDefinitions);
      missing = await typesWithoutValues(writer);
      for (const [group, columns] of await typeColumns(writer)) {
        for (const kind of identities) {
          const table = tableOf(group, kind);
          for (const statement of tableStory(`app.${table}`, clause(table, kind), columns)) {
            await writer.unsafe(statement);
          }
        }
      }
      for (const statement of others) await writer.unsafe(statement);

      const tables = await columnsOfTables(oracle);
      const changes = await readOracle(oracle);
      expected = changes.flatMap((change) => expectedBody(change, tables, differences) ?? []);
      received = await delivery.bodies();
    } finally {
      await writer.end();
      await oracle.end();
    }
  }, 180_000);

  afterAll(async () => {
    await delivery?.stop();
    await database?.drop();
  });

  test('every built-in type that can be stored is in the matrix', () => {
    expect(missing).toEqual([]);
  });

  describe.each(identities)('with replica identity %s', (identity) => {
    test.each(typeGroups)('events of %s are the same, byte for byte', (group) => {
      const table = tableOf(group, identity);
      const wanted = eventsOf(table, expected);
      expect(new Set(wanted.map((body) => body.slice(19, 20)))).toEqual(new Set('IUDT'));
      expectSame(eventsOf(table, received), wanted);
    });
  });

  test('events of other tables are the same, and there is not one more or less', () => {
    expectSame(inOrder(received), inOrder(expected));
  });
});

/** The events of one table, in the order of the log. */
const eventsOf = (table: string, bodies: readonly string[]) =>
  inOrder(bodies.filter((body) => body.includes(`"schema":"app","table":"${table}",`)));

/** By position in the log; rows of one statement can share it. */
function inOrder(bodies: readonly string[]): string[] {
  const position = (body: string) => {
    const [, high, low] = /"lsn":"([0-9A-F]+)\/([0-9A-F]+)"/.exec(body)!;
    return high!.padStart(8, '0') + low!.padStart(8, '0');
  };
  return bodies
    .map((body) => ({ key: `${position(body)} ${body}`, body }))
    .sort((one, other) => (one.key < other.key ? -1 : 1))
    .map(({ body }) => body);
}

/** Shows the surroundings of the first difference: the whole bodies would fill a screen. */
function expectSame(actual: readonly string[], wanted: readonly string[]): void {
  for (const [i, body] of wanted.entries()) {
    const other = actual[i] ?? '';
    if (other === body) continue;
    let at = 0;
    while (body[at] === other[at]) at++;
    const around = (whole: string) => `${whole.slice(0, 150)} … ${whole.slice(at - 100, at + 100)}`;
    expect(around(other), `event ${i} of ${wanted.length}`).toBe(around(body));
  }
  expect(actual).toHaveLength(wanted.length);
}
