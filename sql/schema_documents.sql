-- What the schema log says of one object: a table, a sequence, an enum type, a materialized view.
-- Each is described by itself, so that a statement costs what it touches, not what there is.
--
-- A document says only what the catalogs say, in an order of its own (columns as in the table, all
-- else by name), so that two documents are equal where nothing has changed. Names of types and
-- functions outside pg_catalog come out qualified, since nothing else is in the search path.

create or replace function pgstream._is_logged(rel oid) returns boolean
  language sql stable strict parallel safe
begin atomic
  select exists (
    select from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid = rel
      and c.relkind in ('r', 'p', 'S', 'm')
      and c.relpersistence <> 't'
      and not pgstream.is_system_schema(n.nspname)
      and not exists (
        select from pg_depend d
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.objsubid = 0
          -- e: of an extension; i of a sequence: of an identity column, which is described there
          and (d.deptype = 'e' or d.deptype = 'i' and c.relkind = 'S')
      )
  );
end;

comment on function pgstream._is_logged is
  'Whether the schema log describes the relation: a table, sequence or materialized view that is '
  'not temporary, not of the system and not an extension''s.';

create or replace function pgstream._index_documents(rel oid)
  returns table (documents jsonb, names text[], primary_key jsonb, unique_columns smallint[])
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'name', x.relname,
           'columns', k.names,
           'unique', i.indisunique,
           'definition', pg_get_indexdef(i.indexrelid)
         ) order by x.relname collate "C") filter (where i.indisvalid), '[]'),
         coalesce(array_agg(x.relname::text), '{}'),
         coalesce((jsonb_agg(k.names) filter (where i.indisprimary)) -> 0, '[]'),
         array_agg(i.indkey[0])
           filter (where i.indisunique and i.indisvalid and i.indnkeyatts = 1 and i.indpred is null)
  from pg_index i
  join pg_class x on x.oid = i.indexrelid
  cross join lateral (
    select coalesce(jsonb_agg(a.attname order by u.n), '[]') as names
    from unnest(i.indkey) with ordinality as u(attnum, n)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
    where u.n <= i.indnkeyatts
  ) k
  where i.indrelid = rel
$$;

comment on function pgstream._index_documents is
  'The valid indexes of a table as the schema log writes them, the names of all of them, the '
  'columns of its primary key, and those that are unique by themselves.';

create or replace function pgstream._base_type(type oid) returns oid
  language sql stable strict parallel safe
begin atomic
  with recursive made_of as (
    select type as oid
    union all
    select t.typbasetype from made_of m join pg_type t on t.oid = m.oid and t.typtype = 'd'
  )
  select m.oid from made_of m join pg_type t on t.oid = m.oid and t.typtype <> 'd';
end;

comment on function pgstream._base_type is 'What a domain is made of; any other type itself.';

create or replace function pgstream._column_documents(
  rel oid, table_id text, numbers integer[], unique_columns smallint[]
) returns jsonb
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(
           jsonb_build_object(
             'name', a.attname,
             'type', format_type(a.atttypid, a.atttypmod),
             'default', pg_get_expr(d.adbin, d.adrelid),
             'nullable', not (a.attnotnull or t.typtype = 'd' and t.typnotnull),
             'unique', coalesce(a.attnum = any (unique_columns), false),
             'metadata', m.description,
             'pgstream_id', format('%s-%s', table_id, numbers[a.attnum])
           ) || jsonb_strip_nulls(jsonb_build_object(
             'generated', nullif(a.attgenerated, ''),
             'identity', nullif(a.attidentity, ''),
             -- to_jsonb() calls casts to json of types of users: these are printed
             'missing', case
               when not a.atthasmissing then null
               when pgstream._base_type(a.atttypid) < 16384 then to_jsonb(a.attmissingval) -> 0
               else to_jsonb((a.attmissingval::text::text[])[1]) end
           )) order by a.attnum), '[]')
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  left join pg_description m
    on m.classoid = 'pg_class'::regclass and m.objoid = a.attrelid and m.objsubid = a.attnum
  where a.attrelid = rel and a.attnum > 0 and not a.attisdropped
$$;

comment on function pgstream._column_documents is
  'The columns of a table as the schema log writes them, in the order of the table. Only where '
  'they apply, generated (s: stored, v: virtual), identity (a: always, d: by default) and missing: '
  'the value that rows have which are older than the column.';

create or replace function pgstream._table_documents(oids oid[])
  returns table (key text, schema_name text, name text, document jsonb, parts text[])
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select i.id::text, n.nspname::text, c.relname::text,
         jsonb_build_object(
           'oid', c.oid::text,
           'name', c.relname,
           'pgstream_id', i.id,
           'columns', pgstream._column_documents(
             c.oid, i.id::text, i.column_numbers, x.unique_columns),
           'primary_key_columns', x.primary_key,
           'indexes', x.documents,
           'constraints', k.checks,
           'foreign_keys', k.foreign_keys
         ) || jsonb_strip_nulls(jsonb_build_object(
           'inherits', p.names,
           'partition_key', pg_get_partkeydef(c.oid),
           'partition_bound', pg_get_expr(c.relpartbound, c.oid),
           'comment', obj_description(c.oid, 'pg_class'))),
         x.names || p.oids
  from unnest(oids) t(oid)
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
  join pgstream.table_ids i on i.oid = c.oid::bigint
  cross join lateral pgstream._index_documents(c.oid) x
  cross join lateral (
    select coalesce(jsonb_agg(jsonb_build_object(
             'name', k.conname,
             'type', case k.contype when 'c' then 'CHECK' when 'u' then 'UNIQUE' else 'EXCLUDE' end,
             'definition', pg_get_constraintdef(k.oid)
           ) order by k.conname collate "C") filter (where k.contype <> 'f'), '[]') as checks,
           coalesce(jsonb_agg(jsonb_build_object(
             'name', k.conname,
             'definition', pg_get_constraintdef(k.oid)
           ) order by k.conname collate "C") filter (where k.contype = 'f'), '[]') as foreign_keys
    from pg_constraint k
    where k.conrelid = c.oid and k.contype in ('c', 'u', 'x', 'f')
  ) k
  cross join lateral (
    select jsonb_agg(format('%I.%I', pn.nspname, pc.relname) order by h.inhseqno) as names,
           coalesce(array_agg(pc.oid::text), '{}') as oids
    from pg_inherits h
    join pg_class pc on pc.oid = h.inhparent
    join pg_namespace pn on pn.oid = pc.relnamespace
    where h.inhrelid = c.oid
  ) p
  where c.relkind in ('r', 'p') and pgstream._is_logged(c.oid)
$$;

comment on function pgstream._table_documents is
  'Those of the tables that the schema log describes, as it writes them, and the parts by which a '
  'table is found when they are gone: the names of its indexes and the oids of its parents. '
  'Tables without a row in pgstream.table_ids are left out.';

create or replace function pgstream._objects(oids oid[])
  returns table (kind text, key text, schema_name text, name text, document jsonb, parts text[])
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select 'tables', t.key, t.schema_name, t.name, t.document, t.parts
  from pgstream._table_documents(oids) t
  union all
  select 'sequences', c.oid::text, n.nspname, c.relname,
         jsonb_build_object(
           'oid', c.oid::text, 'name', c.relname, 'data_type', format_type(s.seqtypid, null),
           'start_value', s.seqstart::text, 'minimum_value', s.seqmin::text,
           'maximum_value', s.seqmax::text, 'increment', s.seqincrement::text,
           'cycle_option', case when s.seqcycle then 'YES' else 'NO' end),
         '{}'
  from unnest(oids) o(oid)
  join pg_class c on c.oid = o.oid
  join pg_sequence s on s.seqrelid = c.oid
  join pg_namespace n on n.oid = c.relnamespace
  where pgstream._is_logged(c.oid)
  union all
  select 'materialized_views', c.oid::text, n.nspname, c.relname,
         jsonb_build_object(
           'oid', c.oid::text, 'name', c.relname, 'definition', pg_get_viewdef(c.oid),
           'indexes', x.documents),
         x.names
  from unnest(oids) o(oid)
  join pg_class c on c.oid = o.oid
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral pgstream._index_documents(c.oid) x
  where c.relkind = 'm' and pgstream._is_logged(c.oid)
  union all
  select 'enum_types', t.oid::text, n.nspname, t.typname,
         jsonb_build_object('oid', t.oid::text, 'name', t.typname, 'values', v.labels), '{}'
  from unnest(oids) o(oid)
  join pg_type t on t.oid = o.oid
  join pg_namespace n on n.oid = t.typnamespace
  cross join lateral (
    select coalesce(jsonb_agg(e.enumlabel order by e.enumsortorder), '[]') as labels
    from pg_enum e
    where e.enumtypid = t.oid
  ) v
  where t.typtype = 'e' and not pgstream.is_system_schema(n.nspname)
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
    )
$$;

comment on function pgstream._objects is
  'The objects of these oids, of whatever catalog, that the schema log describes.';

create or replace function pgstream._oids_in(schema_name text) returns oid[]
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(o.oid), '{}')
  from pg_namespace n
  cross join lateral (
    select c.oid from pg_class c
    where c.relnamespace = n.oid and c.relkind in ('r', 'p', 'S', 'm')
    union all
    select t.oid from pg_type t where t.typnamespace = n.oid and t.typtype = 'e'
  ) o
  where n.nspname = schema_name
$$;

comment on function pgstream._oids_in is
  'The oids of all that the schema log could describe in a schema.';
