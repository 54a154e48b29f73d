/**
 * Which row a change is of, for ordering: events with a key in common follow one another.
 *
 * A key is a 31-bit hash of the table and the values of its key columns. Two rows may share a hash;
 * they then wait for each other without need, which costs time and never order.
 */
import { NULL, UNCHANGED, type Tuple } from '../replication/pgoutput.js';

/**
 * The hash of the given columns. `fallback` is the old row, for values that `tuple` leaves out as
 * unchanged.
 */
export function rowKey(
  table: number,
  columns: readonly number[],
  tuple: Tuple,
  fallback?: Tuple,
): number {
  let hash = Math.imul(0x811c9dc5 ^ table, 0x01000193);
  for (const column of columns) {
    const source = tuple.spans[2 * column] === UNCHANGED && fallback ? fallback : tuple;
    const start = source.spans[2 * column]!;
    if (start === NULL || start === UNCHANGED) {
      hash = Math.imul(hash ^ 0x1ff, 0x01000193);
      continue;
    }
    const end = source.spans[2 * column + 1]!;
    for (let at = start; at < end; at++) {
      hash = Math.imul(hash ^ source.bytes[at]!, 0x01000193);
    }
    hash = Math.imul(hash ^ 0x100, 0x01000193);
  }
  return hash & 0x7fffffff;
}

const none: readonly number[] = [];

/** The rows that a change is of: none where nothing tells them apart, two where the key changes. */
export function rowKeys(
  table: number,
  columns: readonly number[],
  { old, new: row }: { readonly old?: Tuple | undefined; readonly new?: Tuple | undefined },
): readonly number[] {
  if (columns.length === 0) return none;
  const before = old && rowKey(table, columns, old);
  const after = row && rowKey(table, columns, row, old);
  if (before === undefined) return after === undefined ? none : [after];
  return after === undefined || after === before ? [before] : [before, after];
}
