import { type Relation, type Tuple } from './pgoutput.js';

/** The text of a column; null for SQL null and for a value that was not sent. */
export function textOf(tuple: Tuple, column: number): string | null {
  const start = tuple.spans[2 * column] ?? -1;
  return start < 0 ? null : tuple.bytes.toString('utf8', start, tuple.spans[2 * column + 1]);
}

/** The row as texts by column name. */
export function record(relation: Relation, tuple: Tuple): Record<string, string | null> {
  return Object.fromEntries(relation.columns.map(({ name }, i) => [name, textOf(tuple, i)]));
}
