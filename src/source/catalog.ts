/** What the stream does not tell about a table, read from the catalogs. */
import type { Sql } from 'postgres';
import type { Relation } from '../replication/pgoutput.js';

export interface TableDescription {
  /** The name of each column's type, as `format_type` prints it with `public` in the path. */
  readonly types: readonly string[];
  /** The names of the primary key's columns; empty when there is none. */
  readonly primaryKey: readonly string[];
}

/**
 * Describes the table of a Relation message. A type that is gone by now is named by
 * `fallbackType`.
 */
export async function describeTable(
  sql: Sql,
  relation: Relation,
  fallbackType: (typeOid: number) => string | undefined,
): Promise<TableDescription> {
  const oids = relation.columns.map((column) => String(column.typeOid));
  const typmods = relation.columns.map((column) => String(column.typmod));
  const [row] = await sql<{ types: (string | null)[]; primary_key: string[] }[]>`
    select
      array(
        select nullif(format_type(t.oid, t.typmod), '???')
        from unnest(${oids}::text[]::oid[], ${typmods}::text[]::integer[])
          with ordinality as t(oid, typmod, n)
        order by t.n
      ) as types,
      array(
        select a.attname::text
        from pg_index i
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
        where i.indrelid = ${relation.oid}::oid and i.indisprimary
      ) as primary_key`;
  return {
    types: relation.columns.map(
      ({ typeOid }, i) => row?.types[i] ?? fallbackType(typeOid) ?? 'unknown',
    ),
    primaryKey: row?.primary_key ?? [],
  };
}
