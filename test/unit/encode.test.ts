import { describe, expect, test } from 'vitest';
import { encodeEvent, type Change } from '../../src/event/encode.js';
import { JsonWriter } from '../../src/event/json-writer.js';
import type { TableIds } from '../../src/event/schema-versions.js';
import { prepareTable, type EventTable } from '../../src/event/table.js';
import { decode, type Relation, type Tuple } from '../../src/replication/pgoutput.js';
import { insert, newRow, unchanged, type Value } from '../helpers/pgoutput-bytes.js';

function row(...values: Value[]): Tuple {
  const message = decode(insert(1, newRow(...values)));
  if (message.tag !== 'insert') throw new Error(`a ${message.tag}`);
  return message.new;
}

function relation(overrides: Partial<Relation> = {}, identity = [true, false]): Relation {
  return {
    tag: 'relation',
    oid: 16_471,
    schema: 'public',
    name: 'test',
    replicaIdentity: 'd',
    columns: [
      { name: 'id', typeOid: 23, typmod: -1, identity: identity[0]! },
      { name: 'name', typeOid: 25, typmod: -1, identity: identity[1]! },
    ],
    ...overrides,
  };
}

const types = ['integer', 'text'];
const plain = prepareTable(relation(), types);
const full = prepareTable(relation({ replicaIdentity: 'f' }, [true, true]), types);

const encoded = (table: EventTable, change: Change, writer = new JsonWriter()) =>
  encodeEvent(writer, table, change, '2025-03-13 09:52:47.579305+00', '0/15A5C70')
    .toBuffer()
    .toString();

const body = (action: string, columns: string, identity: string, more = '') =>
  `{"Data":{"action":"${action}","timestamp":"2025-03-13 09:52:47.579305+00",` +
  `"lsn":"0/15A5C70","schema":"public","table":"test","columns":${columns},` +
  `"identity":${identity},"metadata":{"schema_id":null,"table_pgstream_id":"",` +
  `"id_col_pgstream_id":null,"version_col_pgstream_id":""}${more}}}`;

const id = (value: string) => `{"id":"","name":"id","type":"integer","value":${value}}`;
const name = (value: string) => `{"id":"","name":"name","type":"text","value":${value}}`;

describe('the body of an event', () => {
  test('of an insert has the whole row and no identity', () => {
    expect(encoded(plain, { action: 'I', new: row('1', 'alice') })).toBe(
      body('I', `[${id('1')},${name('"alice"')}]`, 'null'),
    );
  });

  test('of an insert has nulls where the row has them', () => {
    expect(encoded(plain, { action: 'I', new: row(null, null) })).toBe(
      body('I', `[${id('null')},${name('null')}]`, 'null'),
    );
  });

  test('of an update whose key is unchanged has the present key as identity', () => {
    expect(encoded(plain, { action: 'U', new: row('1', 'bob') })).toBe(
      body('U', `[${id('1')},${name('"bob"')}]`, `[${id('1')}]`),
    );
  });

  test('of an update whose key has changed has the old key as identity', () => {
    expect(encoded(plain, { action: 'U', new: row('2', 'bob'), old: row('1', null) })).toBe(
      body('U', `[${id('2')},${name('"bob"')}]`, `[${id('1')}]`),
    );
  });

  test('of an update with full identity has the whole old row as identity', () => {
    expect(encoded(full, { action: 'U', new: row('1', 'bob'), old: row('1', null) })).toBe(
      body('U', `[${id('1')},${name('"bob"')}]`, `[${id('1')},${name('null')}]`),
    );
  });

  test('of a delete has the identity alone', () => {
    expect(encoded(plain, { action: 'D', old: row('1', null) })).toBe(
      body('D', 'null', `[${id('1')}]`),
    );
    expect(encoded(full, { action: 'D', old: row('1', 'alice') })).toBe(
      body('D', 'null', `[${id('1')},${name('"alice"')}]`),
    );
  });

  test('of a truncate has neither', () => {
    expect(encoded(plain, { action: 'T' })).toBe(body('T', 'null', 'null'));
  });

  test('leaves out a TOASTed value that did not change, and names it at the end', () => {
    expect(encoded(plain, { action: 'U', new: row('1', unchanged) })).toBe(
      body('U', `[${id('1')}]`, `[${id('1')}]`, ',"unchanged":["name"]'),
    );
    expect(encoded(plain, { action: 'U', new: row('2', unchanged), old: row('1', null) })).toBe(
      body('U', `[${id('2')}]`, `[${id('1')}]`, ',"unchanged":["name"]'),
    );
  });

  test('names every one of them, in the order of the columns', () => {
    expect(encoded(plain, { action: 'U', new: row(unchanged, unchanged) })).toBe(
      body('U', '[]', '[]', ',"unchanged":["id","name"]'),
    );
  });

  test('fills a TOASTed value that did not change from the old row, where that has it', () => {
    expect(encoded(full, { action: 'U', new: row('2', unchanged), old: row('1', 'long') })).toBe(
      body('U', `[${id('2')},${name('"long"')}]`, `[${id('1')},${name('"long"')}]`),
    );
  });

  test('has no columns for a table without any', () => {
    const bare = prepareTable(relation({ columns: [] }), []);
    expect(encoded(bare, { action: 'I', new: row() })).toBe(body('I', '[]', 'null'));
  });

  test('quotes the names of schemas, tables, columns and types, and unchanged columns', () => {
    const odd = prepareTable(
      relation({
        schema: 'my "schema"',
        name: 'tab\tle\\',
        columns: [{ name: 'ключ"\n', typeOid: 99_999, typmod: -1, identity: true }],
      }),
      ['"my ""type"'],
    );
    const event = encoded(odd, { action: 'U', new: row(unchanged), old: row(null) });
    expect(JSON.parse(event)).toMatchObject({
      Data: { schema: 'my "schema"', table: 'tab\tle\\', unchanged: ['ключ"\n'] },
    });
    expect(event).toContain(
      '"identity":[{"id":"","name":"ключ\\"\\n","type":"\\"my \\"\\"type\\"","value":null}]',
    );
  });

  test('carries the lasting ids where they are known, and empty ones for new columns', () => {
    const ids: TableIds = {
      schemaId: 'cv9al8qhi0j00i9chq80',
      tableId: 'cv9al8qhi0j00i9chq8g',
      columns: new Map([['id', 'cv9al8qhi0j00i9chq8g-1']]),
      identity: ['cv9al8qhi0j00i9chq8g-1'],
    };
    const event = encoded(prepareTable(relation(), types, ids), {
      action: 'I',
      new: row('1', 'alice'),
    });
    expect(event).toContain(
      '"columns":[{"id":"cv9al8qhi0j00i9chq8g-1","name":"id","type":"integer","value":1},' +
        '{"id":"","name":"name","type":"text","value":"alice"}],"identity":null,' +
        '"metadata":{"schema_id":"cv9al8qhi0j00i9chq80",' +
        '"table_pgstream_id":"cv9al8qhi0j00i9chq8g",' +
        '"id_col_pgstream_id":["cv9al8qhi0j00i9chq8g-1"],"version_col_pgstream_id":""}}}',
    );
  });

  test('is the same bytes from a writer that has written other events before', () => {
    const writer = new JsonWriter();
    encoded(full, { action: 'D', old: row('1', 'x'.repeat(100_000)) }, writer);
    const change: Change = { action: 'I', new: row('1', 'alice') };
    expect(encoded(plain, change, writer)).toBe(encoded(plain, change));
  });

  test('writes a domain over a number, and every type it does not know, as text', () => {
    const columns = [16, 17, 20, 21, 23, 26, 700, 701, 1700, 28, 114, 790, 99_999].map(
      (typeOid, i) => ({ name: `c${i}`, typeOid, typmod: -1, identity: false }),
    );
    const table = prepareTable(
      relation({ columns }),
      columns.map(() => 't'),
    );
    const values = ['t', '\\x00', ...Array<string>(7).fill('1'), ...Array<string>(4).fill('1')];
    const parsed = JSON.parse(encoded(table, { action: 'I', new: row(...values) })) as {
      Data: { columns: { value: unknown }[] };
    };
    expect(parsed.Data.columns.map((column) => column.value)).toEqual([
      true,
      '00',
      ...Array<number>(7).fill(1),
      ...Array<string>(4).fill('1'),
    ]);
  });
});
