/**
 * The same changes give the same bytes, whichever output plugin the slot has: one database with two
 * slots and two runners, which both deliver to the same endpoint, so that everything arrives twice.
 */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { eventually } from '../helpers/poll.js';
import { randomTypeDefinitions, randomTypes } from '../helpers/random-values.js';
import { startReceiver, type Receiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { literal, tableStory, typeColumns } from '../helpers/type-tables.js';
import { typeDefinitions } from '../helpers/type-values.js';
import { hasWal2json } from '../helpers/wal2json.js';

const slots = ['pgoutput', 'wal2json'];

/** Does not fit into its row, and does not compress. */
const long = literal(
  Array.from({ length: 99 }, (_, i) => createHash('sha512').update(`${i}`).digest('hex')).join(''),
);

const identities = ['default', 'full', 'index'];
const clause = (table: string, identity: string) =>
  identity === 'index' ? `using index ${table}_code_key` : identity;

/** Each statement is a transaction. */
const story = [
  ...identities.flatMap((identity) => [
    `create table app.large_${identity} (id integer primary key, v text, code text not null unique,
       w bytea, x integer)`,
    `alter table app.large_${identity} replica identity ${clause(`large_${identity}`, identity)}`,
    `insert into app.large_${identity} values (1, ${long}, 'a', ${long}, 0)`,
    `update app.large_${identity} set x = 1`,
    `update app.large_${identity} set x = x`,
    `update app.large_${identity} set v = 'short', id = 2`,
    `update app.large_${identity} set v = ${long}, code = 'b'`,
    `update app.large_${identity} set w = null`,
    `delete from app.large_${identity}`,
  ]),
  // An update before anything else has told of the columns.
  `create table app.first_updated (id integer primary key, v text, x integer)`,
  `insert into app.first_updated values (1, ${long}, 0)`,
  `alter table app.first_updated add column late numeric(7, 2)`,
  `update app.first_updated set x = 1`,
  `alter table app.first_updated drop column x, alter column late type numeric(9, 3)`,
  `update app.first_updated set late = 1.5`,
  `delete from app.first_updated`,
  // Identities that change between the rows.
  `create table app.identities (id integer primary key, code text not null unique, v text)`,
  `insert into app.identities values (1, 'a', 'x'), (2, 'b', 'x')`,
  `update app.identities set v = 'y'`,
  `alter table app.identities replica identity full`,
  `update app.identities set v = 'z'; update app.identities set v = v`,
  `alter table app.identities replica identity using index identities_code_key`,
  `update app.identities set v = 'z2'; update app.identities set code = code || '!'`,
  `alter table app.identities replica identity default`,
  `begin; update app.identities set id = id + 10; alter table app.identities replica identity full;
   delete from app.identities where id = 11; commit`,
  `delete from app.identities`,
  `create table app.all_key (a integer, b text, primary key (a, b))`,
  `insert into app.all_key values (1, 'a')`,
  `update app.all_key set b = 'b'; update app.all_key set b = 'b'`,
  `delete from app.all_key`,
  `create table app.backwards (a integer, b text, c integer, primary key (c, a) include (b))`,
  `insert into app.backwards values (1, 'x', 2), (3, 'y', 4)`,
  `update app.backwards set b = 'z'; update app.backwards set c = c + 1; update app.backwards set a = 0 where a = 1`,
  `delete from app.backwards`,
  `create table app.long_key (k text primary key, n integer)`,
  `alter table app.long_key alter k set storage external`,
  `insert into app.long_key select left(${long}, 2600), 0`,
  `update app.long_key set n = 1`,
  `delete from app.long_key`,
  // What has no identity: only inserts and truncates are told of.
  `create table app.keyless (v text)`,
  `insert into app.keyless values ('a'), (null)`,
  `update app.keyless set v = 'b'`,
  `delete from app.keyless`,
  `truncate app.keyless`,
  `create table app.nothing (id integer primary key)`,
  `alter table app.nothing replica identity nothing`,
  `insert into app.nothing values (1)`,
  `update app.nothing set id = 2`,
  // Partitions: one with its columns in another order, one with an identity of its own.
  `create table app.parts (id integer, v text, n numeric(5, 1), primary key (id)) partition by range (id)`,
  `create table app.low partition of app.parts for values from (0) to (10)`,
  `create schema "other ""place"`,
  `create table "other ""place"."hi gh" (n numeric(5, 1), gone integer, id integer primary key, v text)`,
  `insert into "other ""place"."hi gh" values (0, 0, 19, 'before')`,
  `alter table "other ""place"."hi gh" drop column gone`,
  `alter table app.parts attach partition "other ""place"."hi gh" for values from (10) to (20)`,
  `insert into app.parts values (1, ${long}, 1.5), (11, ${long}, 2), (12, 'c', null)`,
  `update app.parts set n = 3`,
  `update app.parts set id = 13 where id = 1`,
  `alter table "other ""place"."hi gh" replica identity full`,
  `update app.parts set n = 4`,
  `truncate app.low`,
  `begin; create table app.middle partition of app.parts for values from (20) to (30);
   insert into app.parts values (25, 'new', 1); commit`,
  `alter table app.parts detach partition "other ""place"."hi gh"`,
  `insert into "other ""place"."hi gh" (id) values (14)`,
  `truncate app.parts, "other ""place"."hi gh"`,
  // Names that change, and that go to another table.
  `create table app.named (id integer primary key, v text)`,
  `begin; insert into app.named values (1, 'a'); alter table app.named rename to renamed;
   insert into app.renamed values (2, 'b'); alter table app.renamed rename v to w;
   update app.renamed set w = 'c'; commit`,
  `create table app.named (v text, id bigint primary key)`,
  `insert into app.named values ('another', 1)`,
  `alter table app.renamed set schema "other ""place"`,
  `insert into "other ""place".renamed values (3, 'd')`,
  `alter schema "other ""place" rename to elsewhere`,
  `insert into elsewhere.renamed values (4, 'e')`,
  `drop table app.named; create table app.named (id integer primary key)`,
  `insert into app.named values (7)`,
  `create type app.humour as enum ('good', 'bad'); create table app.mood (id integer primary key, h app.humour)`,
  `insert into app.mood values (1, 'good'); alter type app.humour rename to temper`,
  `insert into app.mood values (2, 'bad')`,
  // The rest.
  `create table "app"."odd ""t,a.b* c'\\" ("a ""b""\\" integer primary key, "\u{1f600}" text)`,
  `insert into "app"."odd ""t,a.b* c'\\" values (1, E'\\x01\\t"\\\\')`,
  `update "app"."odd ""t,a.b* c'\\" set "a ""b""\\" = 2`,
  `create table app.one (id integer primary key); create table app.two (id integer primary key)`,
  `begin; insert into app.one values (1); savepoint s; insert into app.one values (2);
   rollback to s; insert into app.two select generate_series(1, 300); commit`,
  `truncate app.one, app.two`,
  `create table app.child (id integer references app.one)`,
  `truncate app.one cascade`,
  `begin; insert into app.one values (9); rollback`,
  `create materialized view app.view as select * from app.one; refresh materialized view app.view`,
  `create unlogged table app.unlogged (id integer primary key); insert into app.unlogged values (1)`,
  `begin; insert into app.one values (5); select pgstream.emit('order.paid', '{"id": 1}');
   select pg_logical_emit_message(true, 'x', 'y'); insert into app.one values (6); commit`,
  `create table app.filtered (id integer primary key, n numeric, v text)`,
];

const filtered = [
  `insert into app.filtered values (1, 1.10, 'a'), (2, 0.5, 'b'), (3, null, ${long})`,
  `update app.filtered set n = 2`,
  `update app.filtered set id = id + 10`,
  `delete from app.filtered`,
];

describe.runIf(await hasWal2json('slots of wal2json'))('two slots of one database', () => {
  let database: TestDatabase;
  let receiver: Receiver;
  const runners: ReturnType<typeof startRunner>[] = [];

  const subscribe = (path: string, more: Record<string, unknown> = {}) => {
    const { sql } = database;
    return sql`insert into pgstream.webhook_subscriptions ${sql({ url: `${receiver.url}/${path}`, ...more })}`;
  };

  /** All that has been committed is delivered by both: a subscription takes along what waits for it. */
  const passed = async () => {
    const [now] = await database.sql<{ lsn: string }[]>`select pg_current_wal_flush_lsn() as lsn`;
    await eventually(
      async () => {
        const rows = await database.sql`
          select from pg_replication_slots
          where database = current_database() and confirmed_flush_lsn >= ${now!.lsn}::pg_lsn`;
        if (rows.length < slots.length) {
          throw new Error(runners.map(({ stderr }) => stderr.slice(-1_500)).join('\n'));
        }
      },
      { timeout: 60_000, interval: 100 },
    );
  };

  beforeAll(async () => {
    database = await createDatabase();
    receiver = await startReceiver();
    const { sql, url } = database;
    const writer = postgres(url, { max: 1, onnotice: () => undefined });
    for (const slot of slots) {
      const env = {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      };
      const args = ['--replication-slot', slot];
      const init = startRunner(['init', ...args, '--output-plugin', slot], { env });
      if ((await init.exited).code !== 0) throw new Error(init.stderr);
      runners.push(startRunner(['run', ...args], { env }));
    }
    for (const runner of runners) await runner.waitForLog(/"streaming"/);
    await subscribe('exact', { schema_name: 'app', table_name: 'one' });
    await sql.unsafe(typeDefinitions);
    await sql.unsafe(randomTypeDefinitions);
    for (const [group, columns] of await typeColumns(sql)) {
      for (const kind of identities) {
        const table = `${group.replaceAll(' ', '_')}_${kind}`;
        for (const step of tableStory(`app.${table}`, clause(table, kind), columns)) {
          await writer.unsafe(step);
        }
        if (group === 'modified types' && kind === 'default') {
          await subscribe('all');
        }
      }
    }
    await subscribe('all', { name: 'again' });
    await subscribe('debezium', { schema_name: 'app', format: 'debezium' });
    await subscribe('business', { event_types: sql.array(['order.*']) });
    for (const step of story.slice(0, 40)) await writer.unsafe(step);
    await subscribe('late', { schema_name: 'app', table_name: 'o*' });
    for (const step of story.slice(40)) await writer.unsafe(step);
    await passed();
    // Only this format tells NaN and infinities of numbers from null, which wal2json does not.
    await sql`delete from pgstream.webhook_subscriptions where format = 'debezium'`;
    await writeRandomRows(sql);
    await subscribe('filtered', {
      schema_name: 'app',
      table_name: 'filtered',
      filter: `op <> 'I' or new.n > 1 or old.id = 1`,
    });
    for (const step of filtered) await writer.unsafe(step);
    await passed();
    await sql`delete from pgstream.webhook_subscriptions where url like '%/all'`;
    await sql.unsafe(`insert into app.one values (77)`);
    await writer.end();
  }, 240_000);

  afterAll(async () => {
    for (const runner of runners) await runner.kill();
    await receiver?.close();
    await database?.drop();
  });

  test('bring the same bodies, each one', async () => {
    await passed();
    const counts = new Map<string, number>();
    for (const { path, body } of receiver.requests) {
      const key = `${path} ${body}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const odd = [...counts].filter(([, count]) => count % 2 === 1).map(([key]) => shorten(key));
    expect(odd.sort().slice(0, 6)).toEqual([]);
    const paths = new Set(receiver.requests.map(({ path }) => path));
    expect([...paths].sort()).toEqual(
      ['/all', '/business', '/debezium', '/exact', '/filtered', '/late'].sort(),
    );
  });
});

const shorten = (body: string) => body.replaceAll(/[0-9a-f]{100,}/g, '…').slice(0, 2_000);

/** Tables of random columns with random rows, written twice over. */
async function writeRandomRows(sql: postgres.Sql): Promise<void> {
  const types = Object.entries(randomTypes);
  const values = (seed: number) =>
    types.map(([type, arbitrary]) => {
      const [value] = fc.sample(fc.option(arbitrary, { freq: 8 }), { numRuns: 1, seed });
      return value === null ? 'null' : `${literal(value!)}::${type}`;
    });
  await sql.unsafe(
    `create table app.random (id integer primary key, ${types.map(([type], i) => `c${i} ${type}`).join()})`,
  );
  for (let id = 0; id < 60; id++) {
    await sql.unsafe(`insert into app.random values (${id}, ${values(id).join()})`);
    const changes = values(id + 1_000).map((value, i) => `c${i} = ${value}`);
    await sql.unsafe(
      `update app.random set ${changes.filter((_, i) => (i + id) % 3 === 0).join()} where id = ${id}`,
    );
  }
}
