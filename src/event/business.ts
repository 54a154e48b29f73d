/** Business events: rows of `pgstream.emitted_events`, which pgstream.emit() alone writes. */
import type { Relation } from '../replication/pgoutput.js';
import { textOf } from '../replication/tuple.js';
import type { Change } from './encode.js';
import { rowKeys } from './row-key.js';

/** Whether the rows of a table are business events. */
export const isBusiness = ({ schema, name }: Relation): boolean =>
  schema === 'pgstream' && name === 'emitted_events';

export const businessColumn = ({ columns }: Relation, wanted: 'type' | 'key' | 'data'): number =>
  columns.findIndex(({ name }) => name === wanted);

export const businessType = (relation: Relation, change: Change): string =>
  textOf(change.new!, businessColumn(relation, 'type'))!;

/** Events of one key follow one another; those without a key wait for nothing. */
export function businessKeys(relation: Relation, change: Change): readonly number[] {
  const key = businessColumn(relation, 'key');
  return textOf(change.new!, key) === null ? [] : rowKeys(relation.oid, [key], change);
}
