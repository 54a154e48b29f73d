/** Which columns tell one row of a table from another. */
import type { Relation } from '../replication/pgoutput.js';

/** Rows of a partitioned table carry the identity of their partition. */
export function withPartitionIdentity(
  relation: Relation,
  identity: readonly string[] | null,
): Relation {
  if (!identity) return relation;
  const columns = relation.columns.map((column) => ({
    ...column,
    identity: column.identity && identity.includes(column.name),
  }));
  return { ...relation, columns };
}

/**
 * The columns that tell one row from another: those of the replica identity, or with REPLICA IDENTITY
 * FULL those of the primary key if there is one. Versions of one schema count as one row, so that
 * they arrive in order.
 */
export function keyColumns(relation: Relation, primaryKey: readonly string[]): number[] {
  const columns = [...relation.columns.keys()];
  if (relation.schema === 'pgstream') {
    return columns.filter((i) => relation.columns[i]!.name === 'schema_name');
  }
  if (relation.replicaIdentity === 'f' && primaryKey.length > 0) {
    return columns.filter((i) => primaryKey.includes(relation.columns[i]!.name));
  }
  return columns.filter((i) => relation.columns[i]!.identity);
}
