/** A whole version of a schema as text for people. */
import {
  columnList,
  describeColumn,
  describeConstraint,
  describeEnum,
  describeSequence,
  describeTable,
  identifier,
  indexBody,
  oneLine,
  plainIndexes,
} from './describe.js';
import type { IndexDocument, SchemaDocument, TableDocument, ViewDocument } from './document.js';

/** Types first, then sequences, tables and materialized views: one line an object or part of one. */
export function outlineOf(document: SchemaDocument): string[] {
  const lines = [
    ...(document.enum_types ?? []).map(
      (type) => `type ${identifier(type.name)} ${describeEnum(type)}`,
    ),
    ...(document.sequences ?? []).map(
      (sequence) => `sequence ${identifier(sequence.name)} ${describeSequence(sequence)}`,
    ),
    ...(document.tables ?? []).flatMap(outlineOfTable),
    ...(document.materialized_views ?? []).flatMap(outlineOfView),
  ];
  if (lines.length === 0) lines.push(document.dropped ? 'dropped' : 'empty');
  return lines.map((line) => indentOf(line) + oneLine(line.trim()));
}

const indentOf = (line: string) => (line.startsWith('  ') ? '  ' : '');

const comment = (text: string | null | undefined) => (text ? ` -- ${text}` : '');

const outlineOfTable = (table: TableDocument): string[] => [
  `table ${identifier(table.name)} ${describeTable(table)}`.trimEnd() + comment(table.comment),
  ...table.columns.map(
    (column) => `  ${identifier(column.name)} ${describeColumn(column)}${comment(column.metadata)}`,
  ),
  ...(table.primary_key_columns.length > 0
    ? [`  primary key ${columnList(table.primary_key_columns)}`]
    : []),
  ...plainIndexes(table).map(outlineOfIndex),
  ...(table.constraints ?? []).map(
    (constraint) => `  constraint ${identifier(constraint.name)} ${describeConstraint(constraint)}`,
  ),
  ...(table.foreign_keys ?? []).map(
    (key) => `  foreign key ${identifier(key.name)} ${describeConstraint(key)}`,
  ),
];

const outlineOfIndex = (index: IndexDocument) =>
  `  index ${identifier(index.name)} ${index.unique ? 'unique ' : ''}${indexBody(index)}`;

const outlineOfView = (view: ViewDocument): string[] => [
  `materialized view ${identifier(view.name)}`,
  `  ${view.definition}`,
  ...view.indexes.map(outlineOfIndex),
];
