import type postgres from 'postgres';

/**
 * Everything that the catalogs know of pgstream, by name, as sorted lines of text: objects with their
 * comments and privileges, and the migrations that have run. Whether tables of users are published is
 * no part of it, nor are columns that were dropped and the order in which privileges were granted,
 * which a dump does not keep.
 */
export async function catalogue(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ line: string }[]>`
    with relations as (
      select c.*, c.oid::regclass as name from pg_class c
      where c.relnamespace = 'pgstream'::regnamespace
    ), objects (kind, classid, objid, definition, acl) as (
      select 'schema', 'pg_namespace'::regclass, n.oid, n.nspname::text, n.nspacl
      from pg_namespace n where n.nspname = 'pgstream'
      union all
      select format('relation %s', c.relkind), 'pg_class'::regclass, c.oid,
             concat_ws(' ', c.name, c.relpersistence, c.relreplident, c.reloptions,
                       c.relrowsecurity, c.relforcerowsecurity,
                       pg_get_viewdef(c.oid), to_jsonb(s) - 'seqrelid' - 'seqtypid'),
             c.relacl
      from relations c left join pg_sequence s on s.seqrelid = c.oid
      union all
      select 'function', 'pg_proc'::regclass, p.oid,
             concat_ws(' ', pg_get_functiondef(p.oid), p.procost, p.prorows, p.proleakproof),
             p.proacl
      from pg_proc p where p.pronamespace = 'pgstream'::regnamespace
      union all
      select format('type %s', t.typtype), 'pg_type'::regclass, t.oid,
             concat_ws(' ', t.oid::regtype, t.typnotnull, t.typdefault,
                       format_type(t.typbasetype, t.typtypmod)),
             t.typacl
      from pg_type t where t.typnamespace = 'pgstream'::regnamespace and t.typcategory <> 'A'
      union all
      select 'constraint', 'pg_constraint'::regclass, k.oid,
             concat_ws(' ', nullif(k.conrelid, 0)::regclass, nullif(k.contypid, 0)::regtype,
                       k.conname, pg_get_constraintdef(k.oid), k.convalidated),
             null
      from pg_constraint k where k.connamespace = 'pgstream'::regnamespace
      union all
      select 'index', 'pg_index'::regclass, i.indexrelid,
             concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisreplident), null
      from pg_index i join relations c on c.oid = i.indrelid
      union all
      select 'trigger', 'pg_trigger'::regclass, t.oid,
             concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled), null
      from pg_trigger t join relations c on c.oid = t.tgrelid and not t.tgisinternal
      union all
      select 'policy', 'pg_policy'::regclass, p.oid,
             concat_ws(' ', p.polname, c.name, p.polcmd, p.polpermissive, p.polroles::regrole[],
                       pg_get_expr(p.polqual, p.polrelid), '/',
                       pg_get_expr(p.polwithcheck, p.polrelid)),
             null
      from pg_policy p join relations c on c.oid = p.polrelid
      union all
      select 'event trigger', 'pg_event_trigger'::regclass, e.oid,
             concat_ws(' ', e.evtname, e.evtevent, e.evttags, e.evtenabled, e.evtfoid::regproc),
             null
      from pg_event_trigger e where e.evtname like 'pgstream%'
      union all
      select 'publication', 'pg_publication'::regclass, p.oid,
             concat_ws(' ', to_jsonb(p) - 'oid' - 'pubowner',
                       (select array_agg(c.name order by c.relname)
                        from pg_publication_rel r join relations c on c.oid = r.prrelid
                        where r.prpubid = p.oid)),
             null
      from pg_publication p where p.pubname like 'pgstream%'
    )
    select concat_ws(E'\n  ', o.kind, o.definition,
                     (select array_agg(a order by a::text) from unnest(o.acl) a)::text,
                     obj_description(o.objid, o.classid::text)) as line
    from objects o
    union all
    select concat_ws(' ', 'column', c.name,
                     row_number() over (partition by c.oid order by a.attnum), a.attname,
                     format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                     a.attgenerated, a.attstattarget, a.attstorage,
                     (select array_agg(g order by g::text) from unnest(a.attacl) g),
                     pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
    from relations c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    union all
    select concat_ws(' ', 'migration', m.id, m.name) from pgstream.migrations m
    order by line`;
  return rows.map(({ line }) => line);
}
