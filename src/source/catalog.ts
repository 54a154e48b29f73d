/** What the stream does not tell about a table, read from the catalogs. */
import type { Sql } from 'postgres';
import type { Relation } from '../replication/pgoutput.js';
import { arrayLiteral } from './array-literal.js';

export interface TableDescription {
  /** The name of each column's type, as `format_type` prints it: of pg_catalog bare, else qualified. */
  readonly types: readonly string[];
  /** The names of the primary key's columns; empty when there is none. */
  readonly primaryKey: readonly string[];
  /**
   * The names of the columns that every partition logs as its identity; null where the table is not
   * partitioned. The Relation message tells of the root, whose identity may be another one.
   */
  readonly partitionIdentity: readonly string[] | null;
}

/**
 * Describes the table of a Relation message. What the stream has told of a type, `streamedType`,
 * comes before its present name: it may have been renamed since.
 */
export async function describeTable(
  sql: Sql,
  relation: Relation,
  streamedType: (typeOid: number) => string | undefined,
): Promise<TableDescription> {
  const oids = relation.columns.map((column) => String(column.typeOid));
  const typmods = relation.columns.map((column) => String(column.typmod));
  const [row] = await sql<
    { types: string[]; primary_key: string[]; partition_identity: string[] | null }[]
  >`
    select
      to_json(array(
        select format_type(t.oid, t.typmod)
        from unnest(${arrayLiteral(oids)}::oid[], ${arrayLiteral(typmods)}::integer[])
          with ordinality as t(oid, typmod, n)
        order by t.n
      )) as types,
      to_json(array(
        select a.attname
        from pg_index i
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
        where i.indrelid = ${relation.oid}::oid and i.indisprimary
      )) as primary_key,
      (
        select to_json(array(
          select a.attname
          from pg_attribute a
          where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
            and not exists (
              select from pg_partition_tree(r.oid) t
              join pg_class leaf on leaf.oid = t.relid
              where t.isleaf and leaf.relreplident <> 'f'
                and not exists (
                  select from pg_index i
                  join pg_attribute l on l.attrelid = leaf.oid and l.attnum = any(i.indkey)
                  where i.indrelid = leaf.oid and l.attname = a.attname
                    and case leaf.relreplident when 'i' then i.indisreplident else i.indisprimary end
                )
            )
        ))
        from pg_class r
        where r.oid = ${relation.oid}::oid and r.relkind = 'p'
      ) as partition_identity`;
  return {
    types: relation.columns.map(({ typeOid, typeName }, i) => {
      const present = row?.types[i];
      const known = typeName ?? streamedType(typeOid);
      return known ?? (present === unknownType ? undefined : present) ?? 'unknown';
    }),
    primaryKey: row?.primary_key ?? [],
    partitionIdentity: row?.partition_identity ?? null,
  };
}

/** What `format_type` says of an oid that stands for no type. */
const unknownType = '???';

/** The names of the types of pg_catalog. */
export async function catalogTypes(sql: Sql): Promise<ReadonlySet<string>> {
  const rows = await sql<{ name: string }[]>`
    select typname as name from pg_type where typnamespace = 'pg_catalog'::regnamespace`;
  return new Set(rows.map(({ name }) => name));
}
