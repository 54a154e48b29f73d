/**
 * The key that the rows of a table can be read by.
 *
 * What compares and what sorts is named by the catalogs, not looked up by the parser: it is what the
 * key's own index is ordered by, wherever that comes from. A value is read as the type below a domain,
 * and a key that has domains further inside is not used, since reading its values would run checks of
 * others with our rights.
 */
import type pg from 'pg';

/** Types and operators are given as SQL, with their schemas. */
export interface KeyColumn {
  readonly name: string;
  /** The type that its values are read as. */
  readonly type: string;
  /** The type that they are compared as, and the operators of its order. */
  readonly compared: string;
  readonly less: string;
  readonly equal: string;
  readonly greater: string;
  /** Name, type and order: while these are the same, so is the order of the rows. */
  readonly signature: string;
}

/** The first of these that can be used: the primary key, the index of the replica identity. */
export async function readKey(client: pg.Client, oid: number): Promise<readonly KeyColumn[]> {
  const { rows } = await client.query<{ key: KeyColumn[] }>({
    name: 'pgstream_key',
    text: keyQuery,
    values: [oid],
  });
  return rows[0]?.key ?? [];
}

/** A type as SQL writes it wherever it is, and without the modifiers that key words bring. */
const nameOf = (oid: string) => `(
  select format('%I.%I', n.nspname, t.typname)
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
  where t.oid = ${oid})`;

/** Type names in signatures are as in events, operators are told where they are not of pg_catalog. */
const keyQuery = `
  with recursive key_columns as (
    select i.indisprimary, k.n, k.opclass, a.attname, a.atttypid, a.attcollation, a.attnotnull
    from pg_index i
    cross join lateral unnest(i.indkey::smallint[], i.indclass::oid[])
      with ordinality k(attnum, opclass, n)
    left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = $1 and i.indisvalid and (i.indisprimary or i.indisreplident)
      and k.n <= i.indnkeyatts
  ), parts as (
    select c.atttypid, c.atttypid as part, true as is_whole from key_columns c
    union
    select p.atttypid, inside.oid, p.is_whole and inside.is_base
    from parts p
    join pg_type t on t.oid = p.part
    cross join lateral (
      select t.typbasetype, true
      union all
      select t.typelem, false
      union all
      select r.rngsubtype, false from pg_range r where t.typtype in ('r', 'm')
        and t.oid in (r.rngtypid, r.rngmultitypid)
      union all
      select a.atttypid, false
      from pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) inside(oid, is_base)
    where inside.oid <> 0
  ), bases as (
    select p.atttypid,
           max(p.part::bigint) filter (where p.is_whole and t.typtype <> 'd')::oid as base,
           bool_or(not p.is_whole and t.typtype = 'd') as has_domains
    from parts p
    join pg_type t on t.oid = p.part
    group by p.atttypid
  )
  select json_agg(json_build_object(
           'name', c.attname, 'type', ${nameOf('b.base')},
           'compared',
             ${nameOf("case ordered.typtype when 'p' then b.base else btree.opcintype end")},
           'less', o.less, 'equal', o.equal, 'greater', o.greater,
           'signature', concat_ws(' ', quote_ident(c.attname),
             regexp_replace(format_type(c.atttypid, -1), '^public\\.', ''),
             regexp_replace(nullif(c.attcollation, 0)::regcollation::text, '^public\\.', ''),
             nullif(o.greater, 'operator(pg_catalog.>)'))) order by c.n) as key
  from key_columns c
  left join bases b on b.atttypid = c.atttypid
  left join pg_opclass own on own.oid = c.opclass
  -- the index of a key without overlaps is a gist, which has no order
  left join pg_opclass btree
    on btree.opcmethod = 403
       and (btree.oid = own.oid
            or own.opcmethod <> 403 and btree.opcdefault and btree.opcintype = own.opcintype)
  left join lateral (
    select max(s.operator) filter (where s.amopstrategy = 1) as less,
           max(s.operator) filter (where s.amopstrategy = 3) as equal,
           max(s.operator) filter (where s.amopstrategy = 5) as greater
    from (
      select a.amopstrategy, format('operator(%I.%s)', n.nspname, o.oprname) as operator
      from pg_amop a
      join pg_operator o on o.oid = a.amopopr
      join pg_namespace n on n.oid = o.oprnamespace
      where a.amopfamily = btree.opcfamily and a.amoplefttype = btree.opcintype
        and a.amoprighttype = btree.opcintype
    ) s
  ) o on true
  left join pg_type ordered on ordered.oid = btree.opcintype
  group by c.indisprimary
  having bool_and(coalesce(c.attnotnull and not b.has_domains and o.greater <> '', false))
  order by c.indisprimary desc
  limit 1`;
