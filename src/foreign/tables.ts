/** What the catalogs of a database say of its tables, for SQL that makes them elsewhere. */
import type pg from 'pg';
import { PgstreamError } from '../errors.js';
import { identifier } from '../schema/describe.js';

export interface EnumType {
  readonly schema: string;
  readonly name: string;
  readonly labels: readonly string[];
}

export interface Column {
  readonly name: string;
  /** As it can be written in any database; `text` where the type is not one of Postgres itself. */
  readonly type: string;
  /** Of the column, or of its elements. */
  readonly enum: EnumType | null;
  readonly isArray: boolean;
  /** The type as it is there, where `type` is not that. */
  readonly unknown: string | null;
  readonly notNull: boolean;
  /** One letter, as in `pg_type.typcategory`. */
  readonly category: string;
}

export interface Table {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly Column[];
  /** The columns that tell rows apart, if that is known. */
  readonly key: readonly string[];
  /** What follows the table's name in the definition of each other index. */
  readonly indexes: readonly { readonly isUnique: boolean; readonly body: string }[];
}

/** Foreign tables have the keys of what they stand for, where pgstream has imported them. */
const query = (keyOfForeign: string) => `
  with recursive tables as (
    select c.oid, c.relname, n.nspname, c.relkind
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
      and case when $2::text[] is null
            then n.nspname = $1 and not c.relispartition and c.relkind <> 'f'
              and (has_table_privilege(c.oid, 'select')
                   or has_any_column_privilege(c.oid, 'select'))
            else c.oid in (select to_regclass(t) from unnest($2) t) end
  ), columns as (
    select a.attrelid, a.attnum, a.attname, a.attnotnull, a.atttypid, a.atttypmod
    from pg_attribute a
    where a.attrelid in (select oid from tables) and a.attnum > 0 and not a.attisdropped
  ), types as (
    select t.oid as declared, t.oid, t.typtype, t.typbasetype, -1 as typmod
    from pg_type t
    where t.oid in (select atttypid from columns)
    union all
    select d.declared, t.oid, t.typtype, t.typbasetype,
           case when d.typmod >= 0 then d.typmod else o.typtypmod end
    from types d
    join pg_type o on o.oid = d.oid
    join pg_type t on t.oid = d.typbasetype
    where d.typtype = 'd'
  ), described as (
    select c.*, b.typcategory as category, b.typcategory = 'A' as is_array,
           case when b.oid < 10000 and b.typname !~ '^_?(reg|aclitem|pg_(node_tree|ndistinct|dependencies|mcv_list|brin))'
             then format_type(b.oid, case when d.typmod >= 0 then d.typmod else c.atttypmod end)
           end as type,
           format_type(c.atttypid, c.atttypmod) as declared, e.oid as enum_oid
    from columns c
    join types d on d.declared = c.atttypid and d.typtype <> 'd'
    join pg_type b on b.oid = d.oid
    left join pg_type e
      on e.typtype = 'e'
         and e.oid in (b.oid, case when b.typcategory = 'A' then b.typelem end)
  )
  select t.nspname as schema, t.relname as name,
         (select coalesce(jsonb_agg(jsonb_build_object(
            'name', d.attname, 'type', coalesce(d.type, 'text'), 'isArray', d.is_array,
            'notNull', d.attnotnull, 'category', d.category,
            'unknown', case when d.type is null and d.enum_oid is null then d.declared end,
            'enum', (select jsonb_build_object('schema', n.nspname, 'name', y.typname, 'labels',
                            (select jsonb_agg(l.enumlabel order by l.enumsortorder)
                             from pg_enum l where l.enumtypid = y.oid))
                     from pg_type y
                     join pg_namespace n on n.oid = y.typnamespace
                     where y.oid = d.enum_oid)) order by d.attnum), '[]')
          from described d where d.attrelid = t.oid) as columns,
         coalesce(
           (select array_agg(a.attname::text order by k.place)
            from (
              select i.*
              from pg_index i
              where i.indrelid = t.oid and i.indisunique and i.indimmediate and i.indisvalid
                and i.indexprs is null and i.indpred is null
                and not exists (
                  select from pg_attribute a
                  where a.attrelid = t.oid and not a.attnotnull
                    and a.attnum = any (i.indkey::smallint[]))
              order by i.indisprimary desc, i.indnkeyatts, i.indexrelid
              limit 1
            ) i
            cross join unnest(i.indkey::smallint[]) with ordinality k(attnum, place)
            join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum
            where k.place <= i.indnkeyatts),
           ${keyOfForeign}, '{}') as key,
         (select coalesce(jsonb_agg(jsonb_build_object(
            'isUnique', i.indisunique,
            'body', regexp_replace(pg_get_indexdef(i.indexrelid), '^.*? (USING .*)$', '\\1'))
            order by i.indexrelid), '[]')
          from pg_index i where i.indrelid = t.oid and not i.indisprimary) as indexes
  from tables t
  order by 1, 2`;

/**
 * Reads the tables of a schema that may be read, or those that are named, which may be foreign. Names
 * are as in SQL; one without a schema is of `schema`.
 *
 * @throws PgstreamError `unknown_table`, `nothing_to_read`.
 */
export async function readTables(
  client: pg.Client,
  schema: string,
  names: readonly string[] | null,
): Promise<Table[]> {
  const { rows: known } = await client.query<{ found: boolean }>(
    `select to_regclass('pgstream.foreign_tables') is not null as found`,
  );
  const key = known[0]?.found ? 'pgstream._key_of(t.oid)' : 'null::text[]';
  const isQualified = (name: string) => !/^\s*("(?:[^"]|"")*"|[^".]*)\s*$/.test(name);
  const wanted = (name: string) => (isQualified(name) ? name : `${identifier(schema)}.${name}`);
  for (const name of names ?? []) {
    const { rows } = await client.query<{ found: boolean }>(
      'select to_regclass($1) is not null as found',
      [wanted(name)],
    );
    if (!rows[0]!.found) {
      throw new PgstreamError('unknown_table', `there is no table ${name}`, {
        hint: 'Write it as in SQL: schema.table, with quotes where it has capital letters.',
      });
    }
  }
  const { rows } = await client.query<Table>(query(key), [schema, names?.map(wanted) ?? null]);
  if (rows.length === 0) {
    throw new PgstreamError('nothing_to_read', `schema ${schema} has no table that may be read`, {
      hint: 'Name another with --schema, or grant SELECT on its tables.',
    });
  }
  return rows;
}
