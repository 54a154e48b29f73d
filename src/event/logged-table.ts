/** A table as the stream describes it, beside what the schema version in force says of it. */
import type { Relation, RelationColumn } from '../replication/pgoutput.js';
import type { LoggedTable } from './schema-versions.js';
import { eventTypeName } from './type-name.js';

/** Types with lower oids come with Postgres: their names never change. */
const firstUserType = 16_384;

/**
 * The name of each column's type, as events have it. A type of a user is named by the version, for its
 * name may have changed without a word in the stream; `described` serves where the version knows
 * nothing.
 */
export function columnTypes(
  relation: Relation,
  described: readonly string[],
  logged: LoggedTable | undefined,
  catalogTypes: ReadonlySet<string>,
): string[] {
  return relation.columns.map((column, i) =>
    eventTypeName(
      (isUsers(column) && logged?.types.get(column.name)) || described[i]!,
      catalogTypes,
    ),
  );
}

/** Whether the version tells of the table all that the stream does. */
export function isAsLogged(
  relation: Relation,
  described: readonly string[],
  logged: LoggedTable | undefined,
): boolean {
  if (!logged || logged.name !== relation.name) return false;
  const isColumnAsLogged = (column: RelationColumn, i: number) =>
    isUsers(column)
      ? logged.types.has(column.name)
      : logged.types.get(column.name) === described[i];
  const names = new Set(relation.columns.map(({ name }) => name));
  return (
    relation.columns.every(isColumnAsLogged) && [...logged.sent].every((name) => names.has(name))
  );
}

const isUsers = ({ typeOid }: RelationColumn) => typeOid >= firstUserType;
