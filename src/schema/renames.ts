/**
 * Definitions as they would be written after renames, so that a renamed object is not told a second
 * time wherever its name is written. What is not understood is left as it is: then the definition
 * differs, and is told as changed.
 */
import { qualified } from './describe.js';

/** Old names as Postgres writes them, and the new ones. */
export type Names = ReadonlyMap<string, string>;

export interface Renames {
  /** Tables, types, sequences and materialized views, with their schema. */
  readonly objects: Names;
  /** Columns, by the old name of their table. */
  readonly columns: ReadonlyMap<string, Names>;
}

const none: Names = new Map();
const name = String.raw`(?:"(?:[^"]|"")*"|[\p{L}_][\p{L}\p{N}_$]*)`;
const names = new RegExp(`${name}(?:\\.${name})*`, 'gu');
const reference = new RegExp(`^(.* REFERENCES )(${name}\\.${name})(.*)$`, 'su');

export const rewritten = (text: string, { objects }: Renames, columns: Names = none): string =>
  text.replaceAll(names, (found) => objects.get(found) ?? columns.get(found) ?? found);

/** The definition of an index or a constraint of a table, given by its old name. */
export function rewrittenPart(definition: string, table: string, renames: Renames): string {
  const [, own, other, columns] = reference.exec(definition) ?? [];
  if (own === undefined || other === undefined || columns === undefined) {
    return rewritten(definition, renames, renames.columns.get(table));
  }
  return (
    rewritten(own, renames, renames.columns.get(table)) +
    (renames.objects.get(other) ?? other) +
    rewritten(columns, renames, renames.columns.get(other))
  );
}

interface Named {
  readonly name: string;
}

/** The names of those that have another one now. */
export const renamesOf = (
  pairs: readonly (readonly [before: Named, after: Named])[],
  ...prefix: readonly string[]
): Names =>
  new Map(
    pairs
      .filter(([before, after]) => before.name !== after.name)
      .map(([before, after]) => [
        qualified(...prefix, before.name),
        qualified(...prefix, after.name),
      ]),
  );
