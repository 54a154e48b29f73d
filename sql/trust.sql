-- Whose code the caller should not run. What somebody can change who is no member of the caller's
-- role, and so may lack its rights, is in the hands of others: it is not planned or evaluated with
-- the rights of the caller.

create or replace function pgstream._untrusted_role(roles oid[]) returns name
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select pg_get_userbyid(o.role)
  from unnest(roles) r(role)
  cross join pg_database d
  -- the owner of the database acts as pg_database_owner, to whom the schema public may belong
  cross join lateral (
    select case pg_get_userbyid(r.role) when 'pg_database_owner' then d.datdba else r.role end
  ) o(role)
  where d.datname = current_database()
    and (o.role = 0 or not pg_has_role(o.role, current_user, 'member'))
  order by 1
  limit 1
$$;

comment on function pgstream._untrusted_role is
  'One of the roles that is no member of the caller''s; null where there is none. 0 is PUBLIC.';

create or replace function pgstream._untrusted_owner(type oid) returns name
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select pgstream._untrusted_role(array[t.typowner, n.nspowner])
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
  where t.oid = type
$$;

comment on function pgstream._untrusted_owner is
  'Who has a type in its hands, as the owner of it or of its schema; null where nobody else has.';

create or replace function pgstream._untrusted_schema(path text) returns text
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select format('others can make functions and operators in schema %I', n.nspname)
  from pg_namespace n
  where strpos(format(', %s, ', path), format(', %I, ', n.nspname)) > 0
    and n.nspname not in ('pg_catalog', 'pg_temp')
    and pgstream._untrusted_role(array(
      select a.grantee
      from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
      where a.privilege_type = 'CREATE')) is not null
  order by 1
  limit 1
$$;

comment on function pgstream._untrusted_schema is
  'Why names in a path could come to mean what others make; null where they could not.';

create or replace function pgstream._untrusted_code(relation oid) returns text
  language plpgsql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts constant oid[] := array(
    select relation union select t.relid from pg_partition_tree(relation) t);
  v_classes oid[];
  v_objects oid[];
begin
  select array_agg(a.classid), array_agg(a.oid) into v_classes, v_objects
  from (
    select 'pg_class'::regclass, k.partrelid
    from pg_partitioned_table k
    where k.partrelid = any (v_parts) and k.partexprs is not null
    union all
    select 'pg_class'::regclass, i.indexrelid
    from pg_index i
    where i.indrelid = any (v_parts) and (i.indexprs is not null or i.indpred is not null)
    union all
    select 'pg_constraint'::regclass, c.oid
    from pg_constraint c
    where c.conrelid = any (v_parts) and c.contype = 'c'
    union all
    select 'pg_statistic_ext'::regclass, s.oid
    from pg_statistic_ext s
    where s.stxrelid = any (v_parts)
  ) a(classid, oid);
  if v_objects is null then
    return null;
  end if;
  return (
    with called as materialized (
      select a.classid, a.oid,
             case when d.refclassid = 'pg_proc'::regclass then d.refobjid
               else (select o.oprcode from pg_operator o where o.oid = d.refobjid) end as function
      from unnest(v_classes, v_objects) a(classid, oid)
      join pg_depend d on d.classid = a.classid and d.objid = a.oid and d.deptype in ('n', 'a')
      where d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
    ), judged as materialized (
      select c.classid, c.oid, c.function, pgstream._untrusted_role(array[f.proowner]) as role
      from called c
      join pg_proc f on f.oid = c.function
    )
    select format('%s, which %s calls, is in the hands of %I', j.function::regprocedure,
                  coalesce(pg_describe_object(j.classid, j.oid, 0), 'something'), j.role)
    from judged j
    where j.role is not null
    order by 1
    limit 1);
end
$$;

comment on function pgstream._untrusted_code is
  'Why the caller should not read a table by a query: planning one runs functions of constants in '
  'the expressions of indexes, CHECKs, statistics and partitions, and one of these functions is in '
  'the hands of others. Null where nothing speaks against it.';

create or replace function pgstream._untrusted_type(types text[]) returns text
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select case when t.oid is null then format('type %s does not exist', n.name)
    else format('type %s is in the hands of %I', n.name, pgstream._untrusted_owner(t.oid)) end
  from unnest(types) n(name)
  cross join lateral (select to_regtype(n.name)::oid) t(oid)
  where t.oid is null or pgstream._untrusted_owner(t.oid) is not null
  order by 1
  limit 1
$$;

comment on function pgstream._untrusted_type is
  'Why the caller should not evaluate expressions over values of these types: one is gone, or in '
  'the hands of others. Null where nothing speaks against it.';

create or replace function pgstream._is_readable(type oid) returns boolean
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  with recursive parts as (
    select t.* from pg_type t where t.oid = type
    union all
    select e.*
    from parts p
    join pg_type e on e.oid = case
      when p.typtype = 'd' then p.typbasetype
      when p.typcategory = 'A' then p.typelem end
  )
  select bool_and(p.typtype = 'd' or pgstream._untrusted_owner(p.oid) is null
                  and has_schema_privilege(p.typnamespace, 'usage'))
  from parts p
$$;

comment on function pgstream._is_readable is
  'Whether the caller can name a type, apart from domains in it, and read texts as values of it '
  'without anything that others decide.';
