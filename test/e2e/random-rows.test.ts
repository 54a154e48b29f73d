/**
 * Whatever rows are written to whatever tables, the events of a table tell the same story as the
 * table itself: folded one after the other they give what SELECT shows.
 */
import fc from 'fast-check';
import pg from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { startDelivery, type Delivery } from '../helpers/delivery.js';
import { eventually } from '../helpers/poll.js';
import { randomTypeDefinitions, randomTypes, storableText } from '../helpers/random-values.js';
import { elements, members, pinnedSettings } from '../helpers/wal2json.js';

let database: TestDatabase;
let delivery: Delivery;
let writer: postgres.Sql;
let reader: pg.Client;
let tables = 0;
let events = 0;

beforeAll(async () => {
  database = await createDatabase();
  delivery = await startDelivery(database);
  writer = postgres(database.url, {
    max: 1,
    connection: { timezone: 'Asia/Kolkata', datestyle: 'SQL, DMY', bytea_output: 'escape' },
    onnotice: () => undefined,
  });
  await writer.unsafe(randomTypeDefinitions);
  reader = new pg.Client({
    connectionString: database.url,
    options: Object.entries(pinnedSettings)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(' '),
    // Every value as the text that the server sends.
    types: { getTypeParser: () => String },
  });
  await reader.connect();
});

afterAll(async () => {
  await delivery?.stop();
  await writer?.end();
  await reader?.end();
  await database?.drop();
});

interface Column {
  name: string;
  type: string;
}

/** A row without its id; undefined leaves a column as it is. */
type Row = readonly (string | null | undefined)[];

type Step =
  | { do: 'update'; id: number; row: Row }
  | { do: 'renumber'; id: number }
  | { do: 'delete'; id: number };

interface Story {
  name: string;
  columns: readonly Column[];
  identity: string;
  rows: readonly Row[];
  steps: readonly Step[];
  atOnce: boolean;
}

const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** With the number before it, it fits into the 63 bytes of a name. */
const name = storableText(12);

const story: fc.Arbitrary<Story> = fc
  .array(fc.record({ name, type: fc.constantFrom(...Object.keys(randomTypes)) }), {
    minLength: 1,
    maxLength: 8,
  })
  .chain((drawn) => {
    const columns = drawn.map(({ name, type }, i) => ({ name: `${i}${name}`, type }));
    const values = columns.map(({ type }) => fc.option(randomTypes[type]!, { freq: 6 }));
    const row = fc.tuple(...values);
    const part = fc.tuple(...values.map((value) => fc.option(value, { nil: undefined, freq: 1 })));
    const id = fc.nat(5);
    const step: fc.Arbitrary<Step> = fc.oneof(
      { weight: 3, arbitrary: fc.record({ do: fc.constant('update' as const), id, row: part }) },
      fc.record({ do: fc.constant('renumber' as const), id }),
      fc.record({ do: fc.constant('delete' as const), id }),
    );
    return fc.record({
      name,
      columns: fc.constant(columns),
      identity: fc.constantFrom('default', 'full'),
      rows: fc.array(row, { minLength: 1, maxLength: 6 }),
      steps: fc.array(step, { maxLength: 8 }),
      atOnce: fc.boolean(),
    });
  });

/** Makes the table and does every step; returns its name and the number of events to come. */
async function perform({ name, columns, identity, rows, steps, atOnce }: Story) {
  const table = `${++tables} ${name}`;
  const at = identifier(table);
  await writer.unsafe(`create table ${at} (id bigint primary key,
    ${columns.map((column) => `${identifier(column.name)} ${column.type}`).join()})`);
  if (identity === 'full') await writer.unsafe(`alter table ${at} replica identity full`);
  let count = 0;

  async function all(sql: postgres.Sql | postgres.TransactionSql): Promise<void> {
    const run = async (statement: string, values: Row = []) => {
      const given = values.filter((value) => value !== undefined);
      count += (await sql.unsafe(statement, given)).count;
    };
    for (const [id, row] of rows.entries()) {
      const cells = columns.map(({ type }, i) => `$${i + 1}::text::${typeName(type)}`);
      await run(`insert into ${at} values (${[id, ...cells].join()})`, row);
    }
    for (const step of steps) {
      if (step.do === 'delete') {
        await run(`delete from ${at} where id = ${step.id}`);
      } else if (step.do === 'renumber') {
        await run(`update ${at} set id = id + 1000 where id = ${step.id}`);
      } else {
        let place = 0;
        const changes = columns.flatMap(({ name: column, type }, i) =>
          step.row[i] === undefined
            ? []
            : `${identifier(column)} = $${++place}::text::${typeName(type)}`,
        );
        await run(
          `update ${at} set ${['id = id', ...changes].join()} where id = ${step.id}`,
          step.row,
        );
      }
    }
  }
  await (atOnce ? writer.begin(all) : all(writer));
  return { table, count };
}

const typeName = (type: string) => type.replace(/ collate .*/, '');

/** The types of a table's columns: their names as the server prints them, and their oids. */
async function typesOf(table: string) {
  const { rows } = await reader.query<{ name: string; type: string; oid: string }>(
    `select attname as name, format_type(atttypid, atttypmod) as type, atttypid as oid
     from pg_attribute where attrelid = $1::regclass and attnum > 0`,
    [identifier(table)],
  );
  return new Map(rows.map(({ name, type, oid }) => [name, { type, oid: Number(oid) }]));
}

type Types = Awaited<ReturnType<typeof typesOf>>;

/** The rows of a table by id, each value as the JSON that the contract asks for. */
async function selected(table: string, types: Types): Promise<Map<string, Map<string, string>>> {
  const { rows } = await reader.query<Record<string, string | null>>(
    `select * from ${identifier(table)}`,
  );
  const json = (row: Record<string, string | null>) =>
    Array.from(types, ([name, { oid }]) => [name, fragment(row[name]!, oid)] as const);
  return new Map(rows.map((row) => [row['id']!, new Map(json(row))]));
}

/** How the contract writes the text of a value; only built-in types are not strings. */
function fragment(text: string | null, typeOid: number): string {
  if (text === null) return 'null';
  if ([20, 21, 23, 26, 700, 701, 1700].includes(typeOid)) {
    return ['NaN', 'Infinity', '-Infinity'].includes(text) ? 'null' : text;
  }
  if (typeOid === 16) return text === 't' ? 'true' : 'false';
  return JSON.stringify(typeOid === 17 ? text.slice('\\x'.length) : text);
}

/** Does to `state` what an event tells; checks what the event says of the row before. */
function apply(event: string, types: Types, state: Map<string, Map<string, string>>) {
  const body = Object.fromEntries(members(members(event)[0]![1]));
  const rowOf = (array: string) =>
    new Map(
      elements(array).map((column) => {
        const { name, type, value } = Object.fromEntries(members(column));
        expect(JSON.parse(type!)).toBe(types.get(JSON.parse(name!) as string)?.type);
        return [JSON.parse(name!) as string, value!];
      }),
    );
  const identity = body['identity'] === 'null' ? undefined : rowOf(body['identity']!);
  const before = identity && state.get(identity.get('id')!)!;
  for (const [name, value] of identity ?? []) expect(value).toBe(before!.get(name));
  if (identity) state.delete(identity.get('id')!);
  if (body['columns'] === 'null') return;
  const row = rowOf(body['columns']!);
  const unchanged = body['unchanged'] ? (JSON.parse(body['unchanged']) as string[]) : [];
  expect([...row.keys(), ...unchanged].sort()).toEqual([...types.keys()].sort());
  for (const name of unchanged) row.set(name, before!.get(name)!);
  state.set(row.get('id')!, row);
}

test('events of random tables, folded, give the rows that SELECT shows', async () => {
  await fc.assert(
    fc.asyncProperty(story, async (drawn) => {
      const { table, count } = await perform(drawn);
      events += count;
      const named = `"table":${JSON.stringify(table)},`;
      const mine = await eventually(() => {
        const bodies = delivery.receiver.requests.map(({ body }) => body);
        const found = bodies.filter((body) => body.includes(named));
        if (found.length < count) throw new Error(`${found.length} of ${count} events arrived`);
        return found;
      });
      const types = await typesOf(table);
      const state = new Map<string, Map<string, string>>();
      for (const event of mine) apply(event, types, state);
      expect(state).toEqual(await selected(table, types));
      await writer.unsafe(`drop table ${identifier(table)}`);
    }),
    { numRuns: 50, interruptAfterTimeLimit: 30_000 },
  );
});

test('there is not one event more than there were changes', async () => {
  const bodies = await delivery.bodies();
  expect(bodies.filter((body) => !body.includes('"schema":"pgstream"'))).toHaveLength(events);
});
