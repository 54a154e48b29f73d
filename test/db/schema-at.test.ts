import fc from 'fast-check';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';
import { expectLogInStep } from '../helpers/schema-log.js';

const table = fc.integer({ min: 1, max: 6 }).map((n) => `t${n}`);
const column = fc.integer({ min: 1, max: 3 }).map((n) => `c${n}`);
const schema = fc.constantFrom('a', 'b');

/** Statements of which many fail, as those of people do. */
const statement = fc.oneof(
  fc.tuple(schema, table).map(([s, t]) => `create table ${s}.${t} (id serial primary key, c1 int)`),
  fc.tuple(schema, table).map(([s, t]) => `drop table ${s}.${t} cascade`),
  fc.tuple(schema, table, table).map(([s, t, u]) => `alter table ${s}.${t} rename to ${u}`),
  fc.tuple(schema, table, schema).map(([s, t, u]) => `alter table ${s}.${t} set schema ${u}`),
  fc.tuple(schema, table, column).map(([s, t, c]) => `alter table ${s}.${t} add ${c} a.mood`),
  fc.tuple(schema, table, column).map(([s, t, c]) => `alter table ${s}.${t} drop ${c}`),
  fc.tuple(schema, table, column).map(([s, t, c]) => `create index on ${s}.${t} (${c})`),
  fc.tuple(schema, table).map(([s, t]) => `drop index ${s}.${t}_c1_idx`),
  fc
    .tuple(schema, table, schema, table)
    .map(([s, t, u, v]) => `alter table ${s}.${t} add foreign key (c1) references ${u}.${v}`),
  fc.tuple(schema, table).map(([s, t]) => `create materialized view ${s}.m as table a.${t}`),
  fc.constantFrom(
    'alter type a.mood rename to humor',
    'alter type a.humor rename to mood',
    'alter schema b rename to c',
    'alter schema c rename to b',
    'drop schema b cascade',
    'create schema b',
  ),
  fc
    .integer({ min: 0, max: 5 })
    .map((limit) => `select set_config('pgstream.schema_log_full_limit', '${limit}', false)`),
);

test('any version can be read whole, wherever the limit was when it was written', async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => sql.end({ timeout: 0 }));

  await fc.assert(
    fc.asyncProperty(fc.array(statement, { minLength: 20, maxLength: 60 }), async (statements) => {
      await sql.unsafe(`drop schema if exists a, b, c cascade; truncate pgstream.schema_log,
        pgstream.schema_objects, pgstream.table_ids; create schema a;
        create type a.mood as enum ('ok')`);
      const seen = new Map<string, unknown>();
      for (const text of statements) {
        await sql.unsafe(text).catch((error: postgres.PostgresError) => {
          expect(error.code).toMatch(/^42|^2BP01|^0A000|^55000|^3F000/);
        });
        await expectLogInStep(sql);
        const versions = await sql`
          select distinct on (schema_name) schema_name, version,
            pgstream.schema_at(schema_name, version) as schema
          from pgstream.schema_log order by schema_name, version desc`;
        for (const { schema_name: name, version, schema: whole } of versions) {
          seen.set(`${name} ${version}`, whole);
        }
      }
      const all = await sql`
        select schema_name, version, pgstream.schema_at(schema_name, version) as schema
        from pgstream.schema_log`;
      for (const { schema_name: name, version, schema: whole } of all) {
        const then = seen.get(`${name} ${version}`);
        if (then !== undefined) expect(whole).toEqual(then);
      }
      expect(await sql`select * from pgstream.reconcile()`).toHaveLength(0);
      expect(await sql`select from pgstream.ddl_error`).toHaveLength(0);
    }),
    { numRuns: 8 },
  );
}, 120_000);

test('a version that there is not is null', async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const { sql } = database;
  await sql`create table t (id int)`;
  const at = (version: number) =>
    sql`select pgstream.schema_at('public', ${version}) is null as missing`;
  expect(await at(1)).toEqual([{ missing: false }]);
  expect(await at(2)).toEqual([{ missing: true }]);
  expect(await sql`select pgstream.schema_at('nowhere', 1) as schema`).toEqual([{ schema: null }]);
});

test('above the limit a version holds what has changed, and what is gone', async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const own = postgres(database.url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => own.end({ timeout: 0 }));
  await own.unsafe(`set pgstream.schema_log_full_limit = 2; create table a (id int);
    create table b (id int); create table c (id serial); drop table c; create table d (id int);
    alter table b rename to e; drop table a`);
  const rows = await own`
    select schema -> 'partial' as partial,
           jsonb_path_query_array(schema, '$.tables[*].name') as tables,
           jsonb_path_query_array(schema, '$.dropped_tables[*].name') as dropped,
           jsonb_path_query_array(schema, '$.dropped_sequences[*].name') as sequences
    from pgstream.schema_log where schema_name = 'public' order by version`;
  const whole = { partial: null, dropped: [], sequences: [] };
  const partial = { partial: true, dropped: [], sequences: [] };
  expect([...rows]).toEqual([
    { ...whole, tables: ['a'] },
    { ...whole, tables: ['a', 'b'] },
    { ...partial, tables: ['c'] },
    { ...whole, tables: ['a', 'b'] },
    { ...partial, tables: ['d'] },
    { ...partial, tables: ['e'] },
    { ...whole, tables: ['d', 'e'] },
  ]);
});
