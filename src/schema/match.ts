/** Which object of one version is which of another. */
import { keyOf, type SchemaDocument } from './document.js';

interface Named {
  readonly name: string;
}

export interface Match<T> {
  readonly dropped: readonly T[];
  readonly kept: readonly (readonly [before: T, after: T])[];
  readonly added: readonly T[];
}

export function match<T>(
  before: readonly T[] | null | undefined,
  after: readonly T[] | null | undefined,
  key: (object: T) => string,
): Match<T> {
  const old = new Map(before?.map((object) => [key(object), object]));
  const present = new Set(after?.map(key));
  const kept: (readonly [T, T])[] = [];
  const added: T[] = [];
  for (const object of after ?? []) {
    const counterpart = old.get(key(object));
    if (counterpart === undefined) added.push(object);
    else kept.push([counterpart, object]);
  }
  return { dropped: (before ?? []).filter((object) => !present.has(key(object))), kept, added };
}

export const byName = ({ name }: Named): string => name;

/**
 * How sequences, types and materialized views are told apart: by oid, but in a copy of the database
 * by name. There all oids are others; a table's lasting id beside another oid gives it away.
 */
export function keyBetween(before: SchemaDocument, after: SchemaDocument) {
  const { kept } = match(before.tables, after.tables, keyOf);
  const isCopy = kept.some(([old, now]) => old.oid !== now.oid);
  return isCopy ? byName : keyOf;
}
