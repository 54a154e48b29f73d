/** A table of which only some columns are shown: whatever encodes it never sees the others. */
import type { Relation, Tuple } from '../replication/pgoutput.js';
import type { Change } from './encode.js';
import type { TableIds } from './schema-versions.js';

/** The places of the named columns. */
export const placesOf = (relation: Relation, names: readonly string[]): readonly number[] =>
  [...relation.columns.keys()].filter((i) => names.includes(relation.columns[i]!.name));

export const restrictRelation = (relation: Relation, places: readonly number[]): Relation => ({
  ...relation,
  columns: places.map((i) => relation.columns[i]!),
});

export const restrictChange = (change: Change, places: readonly number[]): Change => ({
  action: change.action,
  new: change.new && restrictTuple(change.new, places),
  old: change.old && restrictTuple(change.old, places),
});

const restrictTuple = ({ bytes, spans }: Tuple, places: readonly number[]): Tuple => ({
  bytes,
  spans: places.flatMap((i) => [spans[2 * i]!, spans[2 * i + 1]!]),
});

/** The ids of the columns that are shown. */
export function restrictIds(ids: TableIds, relation: Relation): TableIds {
  const names = relation.columns.map(({ name }) => name);
  const columns = new Map([...ids.columns].filter(([name]) => names.includes(name)));
  const shown = new Set(columns.values());
  const identity = ids.identity?.filter((id) => shown.has(id)) ?? [];
  return { ...ids, columns, identity: identity.length > 0 ? identity : null };
}
