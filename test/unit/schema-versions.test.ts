import { describe, expect, test } from 'vitest';
import { SchemaVersions, type SchemaDocument } from '../../src/event/schema-versions.js';

type Table = NonNullable<SchemaDocument['tables']>[number];
type Column = Table['columns'][number];

const column = (name: string, given: Partial<Column> = {}): Column => ({
  name,
  pgstream_id: `t1-${name}`,
  type: 'integer',
  nullable: true,
  unique: false,
  ...given,
});

/** Each name has an oid of its own. */
const names: string[] = [];
function oidOf(name: string): number {
  if (!names.includes(name)) names.push(name);
  return names.indexOf(name) + 1;
}

const table = (name: string, columns: Column[], key: string[] = []): Table => ({
  oid: String(oidOf(name)),
  name,
  pgstream_id: `id of ${name}`,
  primary_key_columns: key,
  columns,
});

function versionsOf(...tables: Table[]) {
  const versions = new SchemaVersions();
  versions.apply('public', 'version 1', { tables });
  return versions;
}

describe('the version in force', () => {
  test('gives a table its lasting ids, and those of its columns', () => {
    const versions = versionsOf(table('orders', [column('id'), column('total')], ['id']));
    expect(versions.find('public', oidOf('orders'))).toEqual({
      schemaId: 'version 1',
      tableId: 'id of orders',
      columns: new Map([
        ['id', 't1-id'],
        ['total', 't1-total'],
      ]),
      identity: ['t1-id'],
      name: 'orders',
      primaryKey: ['id'],
      types: new Map([
        ['id', 'integer'],
        ['total', 'integer'],
      ]),
      sent: new Set(['id', 'total']),
    });
  });

  test('names types of users with their schema, and knows which columns are never sent', () => {
    const columns = [
      column('a', { type: 'public.mood[]' }),
      column('b', { type: 'app.mood' }),
      column('c', { generated: 's' }),
    ];
    expect(versionsOf(table('orders', columns)).find('public', oidOf('orders'))).toMatchObject({
      types: new Map([
        ['a', 'public.mood[]'],
        ['b', 'app.mood'],
        ['c', 'integer'],
      ]),
      sent: new Set(['a', 'b']),
    });
  });

  test('finds a table by its oid, whatever its name has become', () => {
    const versions = versionsOf(table('orders', []));
    const renamed = { ...table('purchases', []), oid: String(oidOf('orders')) };
    versions.apply('public', 'version 2', {
      tables: [renamed, { ...table('x', []), name: 'orders' }],
    });
    expect(versions.find('public', oidOf('orders'))).toMatchObject({ name: 'purchases' });
  });

  test('is the newest one of the schema, whole: what it does not have is gone', () => {
    const versions = versionsOf(table('orders', []), table('customers', []));
    versions.apply('public', 'version 2', { tables: [table('orders', [column('added')])] });
    expect(versions.find('public', oidOf('orders'))).toMatchObject({
      schemaId: 'version 2',
      columns: new Map([['added', 't1-added']]),
    });
    expect(versions.find('public', oidOf('customers'))).toBeUndefined();
  });

  test('takes a partial version as a change of the one before', () => {
    const versions = versionsOf(table('orders', []), table('customers', []), table('gone', []));
    const renamed = {
      ...table('purchases', [column('added')]),
      oid: String(oidOf('orders')),
      pgstream_id: 'id of orders',
    };
    const changed = versions.apply('public', 'version 2', {
      partial: true,
      tables: [renamed, table('made', [])],
      dropped_tables: [{ pgstream_id: 'id of gone' }],
    });
    expect(changed).toEqual(['orders', 'made', 'gone'].map(oidOf));
    expect(versions.find('public', oidOf('gone'))).toBeUndefined();
    expect(versions.find('public', oidOf('orders'))).toMatchObject({
      name: 'purchases',
      schemaId: 'version 2',
      tableId: 'id of orders',
      columns: new Map([['added', 't1-added']]),
    });
    expect(versions.find('public', oidOf('customers'))).toMatchObject({ schemaId: 'version 2' });
    expect(versions.find('public', oidOf('made'))).toBeDefined();
    versions.apply('public', 'version 3', { tables: [table('only', [])] });
    expect(versions.find('public', oidOf('customers'))).toBeUndefined();
  });

  test.each([
    ['app', 'shop'],
    ['shop', 'app'],
  ])('knows where a table is that moves from %s to %s, whichever is told first', (from, to) => {
    for (const isToldFirst of [true, false]) {
      const versions = new SchemaVersions();
      versions.apply(from, 'version 1', { tables: [table('orders', [])] });
      const leave = () => versions.apply(from, 'version 2', { tables: null });
      if (!isToldFirst) leave();
      versions.apply(to, 'version 1', { tables: [table('orders', [])] });
      if (isToldFirst) leave();
      expect(versions.schemaOf(oidOf('orders'))).toBe(to);
      versions.apply(to, 'version 2', { tables: null });
      expect(versions.schemaOf(oidOf('orders'))).toBeUndefined();
    }
  });

  test('of one schema says nothing of another', () => {
    const versions = versionsOf(table('orders', []));
    versions.apply('app', 'version 1 of app', { tables: [table('orders', [])] });
    versions.apply('public', 'version 2', { tables: null });
    expect(versions.find('public', oidOf('orders'))).toBeUndefined();
    expect(versions.find('app', oidOf('orders'))).toMatchObject({ schemaId: 'version 1 of app' });
    expect(versions.find('nowhere', oidOf('orders'))).toBeUndefined();
  });

  test('has names that any object has without being taken for them', () => {
    const versions = versionsOf(table('__proto__', [column('constructor')], ['constructor']));
    expect(versions.find('public', oidOf('__proto__'))?.identity).toEqual(['t1-constructor']);
    expect(versions.find('public', oidOf('constructor'))).toBeUndefined();
    expect(versions.find('__proto__', oidOf('toString'))).toBeUndefined();
  });

  test('has another epoch after each change, and the same one after a look', () => {
    const versions = new SchemaVersions();
    const before = versions.epoch;
    versions.apply('public', 'version 1', { tables: null });
    const after = versions.epoch;
    versions.find('public', oidOf('orders'));
    expect(after).not.toBe(before);
    expect(versions.epoch).toBe(after);
  });
});

describe('the identity of a table', () => {
  const unique = { unique: true, nullable: false };

  test.each<[string, Column[], string[], string[] | null]>([
    [
      'is its primary key, in the order of the key',
      [column('a', unique), column('b'), column('c')],
      ['c', 'b'],
      ['t1-c', 't1-b'],
    ],
    [
      'without a primary key is the first unique column that is not nullable',
      [column('a'), column('b', { unique: true }), column('c', unique), column('d', unique)],
      [],
      ['t1-c'],
    ],
    ['without either is null', [column('a'), column('b', { unique: true })], [], null],
    ['of a table without columns is null', [], [], null],
  ])('%s', (_, columns, key, identity) => {
    const versions = versionsOf(table('orders', columns, key));
    expect(versions.find('public', oidOf('orders'))?.identity).toEqual(identity);
  });
});
