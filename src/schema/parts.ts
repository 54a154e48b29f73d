/** What a table or a materialized view has beside columns: it is told apart by name alone. */
import {
  columnList,
  describeConstraint,
  describeIndex,
  plainIndexes,
  primaryKeyIndex,
  qualified,
} from './describe.js';
import type { IndexDocument, TableDocument } from './document.js';
import { rewrittenPart, type Renames } from './renames.js';

export interface Part {
  readonly object: 'primary key' | 'index' | 'constraint' | 'foreign key';
  readonly name: string;
  readonly details: string;
}

/** All parts of a table that is called `newName` now, written as after the renames. */
export function partsOf(
  schema: string,
  table: TableDocument,
  newName: string,
  renames?: Renames,
): Part[] {
  const now = rewriter(qualified(schema, table.name), renames);
  const list = (
    object: 'constraint' | 'foreign key',
    constraints: TableDocument['constraints'],
  ): Part[] =>
    (constraints ?? []).map((constraint) => ({
      object,
      name: qualified(schema, newName, constraint.name),
      details: now(describeConstraint(constraint)),
    }));
  return [
    ...primaryKey(schema, table, newName, now),
    ...indexesOf(schema, table.name, plainIndexes(table), newName, renames),
    ...list('constraint', table.constraints),
    ...list('foreign key', table.foreign_keys),
  ];
}

type Rewrite = (text: string) => string;

const rewriter =
  (table: string, renames: Renames | undefined): Rewrite =>
  (text) =>
    renames ? rewrittenPart(text, table, renames) : text;

function primaryKey(schema: string, table: TableDocument, name: string, now: Rewrite): Part[] {
  if (table.primary_key_columns.length === 0) return [];
  const columns = now(columnList(table.primary_key_columns));
  const index = primaryKeyIndex(table);
  const details = index ? `${qualified(index.name)} ${columns}` : columns;
  return [{ object: 'primary key', name: qualified(schema, name), details }];
}

/** Indexes of a table or view that was `oldName` when they were described and is `newName` now. */
export function indexesOf(
  schema: string,
  oldName: string,
  indexes: readonly IndexDocument[],
  newName: string,
  renames?: Renames,
): Part[] {
  const now = rewriter(qualified(schema, oldName), renames);
  return indexes.map((index) => ({
    object: 'index',
    name: qualified(schema, index.name),
    details: describeIndex({ ...index, definition: now(index.definition) }, newName),
  }));
}
