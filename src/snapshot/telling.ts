import { PgstreamError } from '../errors.js';
import { keyColumns, withPartitionIdentity } from '../event/identity.js';
import type { Relation } from '../replication/pgoutput.js';
import type { TableDescription } from '../source/catalog.js';
import type { KeyColumn } from './key.js';

/** What the changes of the table, which is read by this key, tell of the rows that they are of. */
export function tellingOf(
  message: Relation,
  { partitionIdentity, primaryKey }: TableDescription,
  key: readonly KeyColumn[],
): 'keys' | 'rows' | 'nothing' {
  const relation = withPartitionIdentity(message, partitionIdentity);
  const told = keyColumns(relation, primaryKey).map((i) => relation.columns[i]!.name);
  if (told.length === 0) return 'nothing';
  if (key.length === 0 && told.length === relation.columns.length) return 'rows';
  const isKey = !partitionIdentity || key.every(({ name }) => told.includes(name));
  if (key.length > 0 && isKey) return 'keys';
  throw new PgstreamError('mixed_identities', 'its changes do not tell which row they are of', {
    hint:
      'Give the table a primary key, of types that have no domains inside them, and its partitions ' +
      'replica identity default or full.',
  });
}
