/** What the catalogs say of the tables and types that lines of wal2json name. */
import type { Sql } from 'postgres';
import { arrayLiteral } from './array-literal.js';

export interface CataloguedTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `pg_class.relreplident`. */
  readonly replicaIdentity: string;
  readonly columns: readonly {
    readonly name: string;
    readonly typeOid: number;
    /** As `format_type` prints it. */
    readonly type: string;
    /** Part of the replica identity. */
    readonly identity: boolean;
  }[];
}

/**
 * A table, and the partitioned one that it belongs to, else the same; by their oids where those are
 * known. Each is undefined where the catalogs do not have it.
 */
export async function cataloguedTables(
  sql: Sql,
  { schema, name }: { readonly schema: string; readonly name: string },
  oid: number | undefined,
  rootOid: number | undefined,
): Promise<{ own: CataloguedTable | undefined; root: CataloguedTable | undefined }> {
  const rows = await sql<(CataloguedTable & { isOwn: boolean; isRoot: boolean })[]>`
    with own as (
      select coalesce(${oid ?? null}::bigint::oid, (
        select c.oid
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = ${schema} and c.relname = ${name} and c.relkind in ('r', 'p')
      )) as oid
    ), found as (
      select own.oid,
        coalesce(${rootOid ?? null}::bigint::oid, pg_partition_root(own.oid), own.oid) as root
      from own
    )
    select c.oid::bigint::float8 as oid, n.nspname as schema, c.relname as name,
      c.relreplident as "replicaIdentity", c.oid = found.oid as "isOwn", c.oid = found.root as "isRoot",
      to_json(array(
        select json_build_object(
          'name', a.attname,
          'typeOid', a.atttypid::bigint,
          'type', format_type(a.atttypid, a.atttypmod),
          'identity', c.relreplident = 'f' or exists (
            select from pg_index i
            where i.indrelid = c.oid
              and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])
              and case c.relreplident
                when 'd' then i.indisprimary
                when 'i' then i.indisreplident
                else false
              end
          )
        )
        from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        order by a.attnum
      )) as columns
    from found
    join pg_class c on c.oid in (found.oid, found.root)
    join pg_namespace n on n.oid = c.relnamespace`;
  return { own: rows.find(({ isOwn }) => isOwn), root: rows.find(({ isRoot }) => isRoot) };
}

/**
 * The oids and names of types. Each is given by its oid, 0 where that is not known, by the name that
 * the schema log gives it, and by the one that the catalogs do; the former is right where it is a name
 * of that very type.
 */
export async function typesOf(
  sql: Sql,
  types: readonly {
    readonly typeOid: number;
    readonly logged: string | undefined;
    readonly present: string | undefined;
  }[],
): Promise<readonly { readonly oid: number; readonly name: string | null }[]> {
  const [row] = await sql<{ types: { oid: number; name: string | null }[] }[]>`
    select to_json(array(
      select json_build_object(
        'oid', coalesce(nullif(t.oid, 0), l.oid, 0)::bigint,
        'name', case when t.oid = 0 or l.oid = t.oid then t.logged else nullif(t.present, '') end
      )
      from unnest(
        ${arrayLiteral(types.map(({ typeOid }) => String(typeOid)))}::oid[],
        ${arrayLiteral(types.map(({ logged }) => logged ?? ''))}::text[],
        ${arrayLiteral(types.map(({ present }) => present ?? ''))}::text[]
      ) with ordinality as t(oid, logged, present, n)
      cross join lateral (
        select to_regtype(nullif(t.logged, ''))::oid as oid
      ) l
      order by t.n
    )) as types`;
  return row!.types;
}
