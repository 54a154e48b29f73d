import { expect, test } from 'vitest';
import { columnTypes, isAsLogged } from '../../src/event/logged-table.js';
import { SchemaVersions } from '../../src/event/schema-versions.js';
import type { Relation } from '../../src/replication/pgoutput.js';

const column = (name: string, typeOid: number) => ({ name, typeOid, typmod: -1, identity: false });
const relation: Relation = {
  tag: 'relation',
  oid: 7,
  schema: 'public',
  name: 'orders',
  replicaIdentity: 'd',
  columns: [column('id', 23), column('mood', 16_400)],
};
const described = ['integer', 'public.temper'];
const catalogTypes = new Set(['path']);

/** A table of a version, with these types by column name. */
function logged(types: Record<string, string>, { name = 'orders', generated = '' } = {}) {
  const versions = new SchemaVersions();
  const columns = Object.entries(types).map(([column, type]) => ({
    name: column,
    pgstream_id: `t-${column}`,
    type,
    nullable: true,
    unique: false,
    ...(column === generated && { generated: 's' }),
  }));
  versions.apply('public', 'v1', {
    tables: [{ oid: '7', name, pgstream_id: 't', primary_key_columns: [], columns }],
  });
  return versions.find('public', 7);
}

test('a type of a user is named by the version in force, one of Postgres by the stream', () => {
  const version = logged({ id: 'text', mood: 'public.feeling' });
  expect(columnTypes(relation, described, version, catalogTypes)).toEqual(['integer', 'feeling']);
});

test('what the version does not know is named by the stream', () => {
  for (const version of [undefined, logged({ id: 'integer' })]) {
    expect(columnTypes(relation, described, version, catalogTypes)).toEqual(['integer', 'temper']);
  }
});

test('a type of public that is called like one of pg_catalog keeps its schema', () => {
  const version = logged({ id: 'integer', mood: 'public.path' });
  const types = columnTypes(relation, described, version, catalogTypes);
  expect(types).toEqual(['integer', 'public.path']);
});

test.each<[string, ReturnType<typeof logged>, boolean]>([
  ['the same columns', logged({ id: 'integer', mood: 'public.mood' }), true],
  ['another name of a type', logged({ id: 'integer', mood: 'public.feeling' }), true],
  [
    'a generated column besides',
    logged({ id: 'integer', mood: 'public.mood', sum: 'integer' }, { generated: 'sum' }),
    true,
  ],
  ['a column more', logged({ id: 'integer', mood: 'public.mood', note: 'text' }), false],
  ['a column less', logged({ id: 'integer' }), false],
  ['another type of Postgres', logged({ id: 'bigint', mood: 'public.mood' }), false],
  ['another name', logged({ id: 'integer', mood: 'public.mood' }, { name: 'purchases' }), false],
  ['nothing', undefined, false],
])('a version with %s', (_, version, expected) => {
  expect(isAsLogged(relation, described, version)).toBe(expected);
});
