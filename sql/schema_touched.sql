-- What a statement can have changed in the schema log.
--
-- Decided by the catalogs, from the objects that the statement names and those that it has dropped.
-- It may name too many: only what comes out different is logged. It must not name too few:
--
--   an index, a constraint          its table
--   a table                         its children, as they are and as they were logged
--   a table that is gone            itself; one of whose parts is gone: that one
--   whatever has another name now   all that depends on it, and so may write that name: columns,
--                                   keys, defaults, checks, indexes, materialized views
--
-- A table whose name and columns' names are as they were logged changes nobody else's description,
-- so that its foreign keys, however many, are not followed. What depends only through the body of a
-- view or function, and what a superuser changes in the catalogs by hand, is for reconcile().

create or replace function pgstream._dropped_objects() returns jsonb
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_dropped jsonb;
begin
  with dropped as materialized (
    select d.*
    from pg_event_trigger_dropped_objects() d
    where not d.is_temporary
      and d.object_type in ('table', 'schema', 'index', 'sequence', 'type', 'materialized view',
                            'table column', 'table constraint', 'default value')
      and not coalesce(pgstream.is_system_schema(d.address_names[1]), false)
  )
  select jsonb_build_object(
           'oids', coalesce(jsonb_agg(distinct case
             when d.object_type in ('table constraint', 'default value')
               then to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid
             else d.objid
           end) filter (where d.object_type not in ('schema', 'index')), '[]'),
           'indexes', coalesce(
             jsonb_agg(d.object_name) filter (where d.object_type = 'index'), '[]'),
           'schemas', coalesce(
             jsonb_agg(d.object_name) filter (where d.object_type = 'schema'), '[]'),
           'within', jsonb_agg(distinct d.address_names[1]),
           'of_tables', bool_or(d.object_type in ('table', 'index')))
  into v_dropped
  from dropped d
  having count(*) > 0;
  return v_dropped;
end
$$;

comment on function pgstream._dropped_objects is
  'For the event trigger on sql_drop: what the statement has dropped, and whom it belonged to; '
  'null when there is nothing for the schema log.';

create or replace function pgstream._touched_tables(oids oid[], indexes text[]) returns oid[]
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  with recursive family as (
    select u.oid from unnest(oids) u(oid)
    union
    select i.oid::oid
    from pgstream.schema_objects s
    join pgstream.table_ids i on i.id = s.key
    where s.kind = 'tables' and s.parts && (oids::text[] || indexes)
    union
    select h.inhrelid from family f join pg_inherits h on h.inhparent = f.oid
  )
  select coalesce(array_agg(f.oid), '{}') from family f
$$;

comment on function pgstream._touched_tables is
  'Tables with their children, those that were logged as their children, and those that were '
  'logged with one of the indexes.';

create or replace function pgstream._renamed_relations(oids oid[]) returns setof oid
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select c.oid
  from unnest(oids) o(oid)
  join pg_class c on c.oid = o.oid
  join pg_namespace n on n.oid = c.relnamespace
  left join pgstream.table_ids i on i.oid = o.oid::bigint
  join pgstream.schema_objects s on s.key = coalesce(i.id::text, o.oid::text)
  where s.name <> c.relname
     or s.schema_name <> n.nspname
     or exists (
       select from jsonb_array_elements(s.document -> 'columns') d
       where not exists (
         select from pg_attribute a where a.attrelid = c.oid and a.attname = d ->> 'name'
       )
     )
$$;

comment on function pgstream._renamed_relations is
  'Those relations that have another name or schema than was logged, or lack a column of a name '
  'that was.';

create or replace function pgstream._dependants(class_ids oid[], object_ids oid[]) returns oid[]
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  with recursive reach as (
    select u.classid, u.objid from unnest(class_ids, object_ids) u(classid, objid)
    union
    select f.classid, f.objid
    from reach r
    cross join lateral (
      select d.classid, d.objid
      from pg_depend d
      where d.refclassid = r.classid and d.refobjid = r.objid
        and d.classid in ('pg_class'::regclass, 'pg_type'::regclass, 'pg_attrdef'::regclass,
                          'pg_constraint'::regclass, 'pg_rewrite'::regclass)
      union all
      -- the row type of a composite type depends the other way round
      select 'pg_type'::regclass, c.reltype
      from pg_class c
      where r.classid = 'pg_class'::regclass and c.oid = r.objid and c.relkind = 'c'
    ) f
  )
  select coalesce(array_agg(distinct
           coalesce(nullif(k.conrelid, 0), i.indrelid, d.adrelid, w.ev_class, r.objid)), '{}')
  from reach r
  left join pg_constraint k on r.classid = 'pg_constraint'::regclass and k.oid = r.objid
  left join pg_index i on r.classid = 'pg_class'::regclass and i.indexrelid = r.objid
  left join pg_attrdef d on r.classid = 'pg_attrdef'::regclass and d.oid = r.objid
  left join pg_rewrite w on r.classid = 'pg_rewrite'::regclass and w.oid = r.objid
$$;

comment on function pgstream._dependants is
  'Objects and all that depends on them; for a constraint, an index or a default its table.';

create or replace function pgstream._touched_oids(
  class_ids oid[], object_ids oid[], altered boolean[], dropped jsonb
) returns oid[]
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_oids oid[];
  v_classes oid[];
  v_objects oid[];
begin
  select array_agg(distinct coalesce(i.indrelid, nullif(k.conrelid, 0), u.objid)) into v_oids
  from unnest(class_ids, object_ids) u(classid, objid)
  left join pg_index i on u.classid = 'pg_class'::regclass and i.indexrelid = u.objid
  left join pg_constraint k on u.classid = 'pg_constraint'::regclass and k.oid = u.objid;

  v_oids := pgstream._touched_tables(
    coalesce(v_oids, '{}')
      || array(select o::oid
               from jsonb_array_elements_text(dropped -> 'oids') o
               where o is not null),
    array(select jsonb_array_elements_text(dropped -> 'indexes')));

  select array_agg(r.classid), array_agg(r.objid) into v_classes, v_objects
  from (
    select 'pg_class'::regclass::oid as classid, r.oid as objid
    from pgstream._renamed_relations(v_oids) r(oid)
    union
    select u.classid, u.objid
    from unnest(class_ids, object_ids, altered) u(classid, objid, altered)
    left join pg_class c on u.classid = 'pg_class'::regclass and c.oid = u.objid
    left join pg_namespace n on u.classid = 'pg_namespace'::regclass and n.oid = u.objid
    where u.altered
      and (c.oid is null or c.relkind in ('v', 'c', 'f'))
      and (n.oid is null or not exists (
        select from pgstream.schema_objects s where s.schema_name = n.nspname
      ))
  ) r;
  if v_classes is not null then
    v_oids := v_oids || pgstream._dependants(v_classes, v_objects);
  end if;
  return array(select distinct o from unnest(v_oids) o);
end
$$;

comment on function pgstream._touched_oids is
  'The oids of all that a statement can have changed in the schema log. altered: which of its '
  'objects may have got another name.';

create or replace function pgstream._touched_schemas(oids oid[], keys text[]) returns text[]
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select array_agg(t.name order by t.name)
  from (
    select n.nspname::text as name
    from unnest(oids) o(oid)
    join pg_class c on c.oid = o.oid
    join pg_namespace n on n.oid = c.relnamespace
    where pgstream._is_logged(c.oid)
    union
    select n.nspname
    from unnest(oids) o(oid)
    join pg_type t on t.oid = o.oid
    join pg_namespace n on n.oid = t.typnamespace
    where t.typtype = 'e'
    union
    select s.schema_name from pgstream.schema_objects s where s.key = any (keys)
  ) t
  where not pgstream.is_system_schema(t.name)
$$;

comment on function pgstream._touched_schemas is
  'The schemas in which objects stand, or stood when they were logged.';
