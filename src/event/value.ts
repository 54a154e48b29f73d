/** How a value's text is written in JSON; decided by the type's oid, so a domain counts as text. */
export type ValueKind = 'number' | 'decimal' | 'boolean' | 'bytea' | 'json' | 'text';

/** Oids of built-in types, the same on every server: src/include/catalog/pg_type.dat. */
const numbers = new Set([
  20, // bigint
  21, // smallint
  23, // integer
  26, // oid
  700, // real
  701, // double precision
  1700, // numeric
]);
const boolean = 16;
const bytea = 17;

/** The kind of a type, as wal2json writes it. */
export function valueKind(typeOid: number): ValueKind {
  if (numbers.has(typeOid)) return 'number';
  if (typeOid === boolean) return 'boolean';
  if (typeOid === bytea) return 'bytea';
  return 'text';
}

/** Those of the numbers that can be NaN or infinite. */
const decimals = new Set([700, 701, 1700]);
const json = 114;
const jsonb = 3802;

/**
 * The kind of a type in the formats that are not bound to wal2json: JSON is itself, and what JSON has
 * no number for is a string.
 */
export function objectValueKind(typeOid: number): ValueKind {
  if (typeOid === json || typeOid === jsonb) return 'json';
  return decimals.has(typeOid) ? 'decimal' : valueKind(typeOid);
}
