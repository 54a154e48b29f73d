/** The examples of docs/formats.md: what the runner makes of a few changes of one table. */
import { Commit } from '../../src/event/commit.js';
import type { Change } from '../../src/event/encode.js';
import { createEncoder } from '../../src/event/encoder.js';
import type { Format } from '../../src/event/format.js';
import { JsonWriter } from '../../src/event/json-writer.js';
import { decode, type Relation, type Tuple } from '../../src/replication/pgoutput.js';
import { toPostgresMicroseconds } from '../../src/replication/timestamp.js';
import { insert, newRow, unchanged, type Value } from './pgoutput-bytes.js';

export function tuple(...values: Value[]): Tuple {
  const message = decode(insert(1, newRow(...values)));
  if (message.tag !== 'insert') throw new Error(`a ${message.tag}`);
  return message.new;
}

/** A table by its columns, the first of which is its key. */
export const relationOf = (
  schema: string,
  name: string,
  columns: Readonly<Record<string, number>>,
): Relation => ({
  tag: 'relation',
  oid: 16_471,
  schema,
  name,
  replicaIdentity: 'd',
  columns: Object.entries(columns).map(([column, typeOid], i) => ({
    name: column,
    typeOid,
    typmod: -1,
    identity: i === 0,
  })),
});

export const origin = { database: 'shop' };
export const commit = new Commit(
  toPostgresMicroseconds(Date.parse('2025-03-13T09:52:47.579Z')) + 305n,
  771,
);
export const id = 'evt_1k7z3m9q2x8v_1_15a5c98_1_7';

const orders = {
  relation: relationOf('public', 'orders', { id: 20, total: 1700, status: 25, details: 3802 }),
  types: ['bigint', 'numeric(12,2)', 'text', 'jsonb'],
};
const emitted = {
  relation: relationOf('pgstream', 'emitted_events', { id: 20, type: 25, key: 25, data: 3802 }),
  types: ['bigint', 'text', 'text', 'jsonb'],
};

const changes: readonly [what: string, of: typeof orders, change: Change][] = [
  ['I', orders, { action: 'I', new: tuple('9007199254740993', '10.50', 'new', '{"gift": true}') }],
  ['U', orders, { action: 'U', new: tuple('9007199254740993', '10.50', 'paid', unchanged) }],
  ['D', orders, { action: 'D', old: tuple('9007199254740993', null, null, null) }],
  ['T', orders, { action: 'T' }],
  [
    'order.paid',
    emitted,
    { action: 'I', new: tuple('1', 'order.paid', null, '{"order": 9007199254740993}') },
  ],
];

export const formats = [
  'pgstream',
  'standard',
  'cloudevents',
  'cloudevents_binary',
  'debezium',
] as const satisfies readonly Format[];

/** The bodies of a format, in the order in which they are shown. */
export const examplesOf = (format: Format): { what: string; body: string }[] =>
  changes.map(([what, of, change]) => {
    const encoder = createEncoder(format, of, origin);
    const body = encoder.encode(new JsonWriter(), change, commit, '0/15A5C70', id);
    return { what, body: body.toBuffer().toString() };
  });
