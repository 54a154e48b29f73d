-- Views that stand on a column whose type changes have to make way, and are made again as they
-- were: with their owners, grants, comments and indexes. Postgres has no other way to change such a
-- column.
--
-- Each is made by its owner: the text of a view is the owner's, and parsing it, or filling a
-- materialized view, runs what it names.

create or replace function pgstream._views_on(rel oid, column_number smallint default null)
  returns table (relation oid, depth integer)
  language sql stable parallel safe
begin atomic
  with recursive views as (
    select r.ev_class as relation, 1 as depth
    from pg_depend d
    join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
    where d.refclassid = 'pg_class'::regclass and d.refobjid = rel and r.ev_class <> rel
      and (column_number is null or d.refobjsubid in (0, column_number))
    union
    select r.ev_class, v.depth + 1
    from views v
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = v.relation
    join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
    where r.ev_class <> v.relation
  )
  select v.relation, max(v.depth)
  from views v
  group by v.relation;
end;

comment on function pgstream._views_on is
  'All views on a relation, or on one of its columns, with the views on these; depth: how far '
  'away.';

create or replace function pgstream._obstacles(rel oid, column_number smallint default null)
  returns setof text
  language sql stable parallel safe
begin atomic
  -- more than a definition to restore: triggers, rules, and what is not a view at all
  with views as (
    select v.relation from pgstream._views_on(rel, column_number) v
  )
  select pg_describe_object(d.classid, d.objid, d.objsubid)
  from pg_depend d
  where d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
    and (d.refobjid in (select v.relation from views v)
         or d.refobjid = rel and (column_number is null or d.refobjsubid in (0, column_number)))
    and not (d.classid = 'pg_rewrite'::regclass
             and exists (select from pg_rewrite r
                         where r.oid = d.objid and r.rulename = '_RETURN'))
  union
  select pg_describe_object('pg_trigger'::regclass, t.oid, 0)
  from pg_trigger t
  where t.tgrelid in (select v.relation from views v)
  union
  select pg_describe_object('pg_rewrite'::regclass, r.oid, 0)
  from pg_rewrite r
  where r.ev_class in (select v.relation from views v) and r.rulename <> '_RETURN';
end;

comment on function pgstream._obstacles is
  'What depends on a relation, or on one of its columns, and is not a view that can be made again.';

create or replace function pgstream._grants(rel oid) returns setof text
  language sql stable parallel safe
begin atomic
  with acls as (
    select c.relacl as acl, '' as columns from pg_class c where c.oid = rel
    union all
    select a.attacl, format(' (%I)', a.attname)
    from pg_attribute a
    where a.attrelid = rel and a.attnum > 0 and not a.attisdropped
  )
  select format('grant %s%s on %s to %s%s', g.privilege_type, a.columns, rel::regclass,
                case when g.grantee = 0 then 'public' else g.grantee::regrole::text end,
                case when g.is_grantable then ' with grant option' else '' end)
  from acls a
  cross join aclexplode(a.acl) g;
end;

comment on function pgstream._grants is 'The statements that grant what is granted on a relation.';

create or replace function pgstream._comments(rel oid) returns setof text
  language sql stable parallel safe
begin atomic
  select format('comment on %s %s is %L',
                case when c.relkind = 'm' then 'materialized view' else 'view' end,
                rel::regclass, d.description)
  from pg_description d
  join pg_class c on c.oid = d.objoid
  where d.classoid = 'pg_class'::regclass and d.objoid = rel and d.objsubid = 0
  union all
  select format('comment on column %s.%I is %L', rel::regclass, a.attname, d.description)
  from pg_description d
  join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid
  where d.classoid = 'pg_class'::regclass and d.objoid = rel and d.objsubid > 0;
end;

comment on function pgstream._comments is 'The statements that comment a view as it is.';

create or replace function pgstream._copied_columns(target oid) returns text
  language sql stable parallel safe
begin atomic
  -- under the names that they have in the copy; what is about to be dropped is left out
  select string_agg(format('%I as %I', a.attname, c.name), ', ' order by a.attnum)
  from pgstream.cached_tables k
  cross join lateral jsonb_to_recordset(k.columns) c(number smallint, name text)
  join pg_attribute a on a.attrelid = k.source and a.attnum = c.number
  where k.target = _copied_columns.target and not a.attname ^@ 'pgstream.gone.';
end;

comment on function pgstream._copied_columns is
  'What a materialized view selects from the foreign table that it caches.';

create or replace function pgstream._definition(rel oid, whole boolean default false)
  returns setof text
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_view record;
  v_name constant text := rel::regclass::text;
begin
  select c.relkind, c.reloptions, c.relispopulated, pg_get_userbyid(c.relowner) as owner, k.source,
         k.key_columns
  into strict v_view
  from pg_class c
  left join pgstream.cached_tables k on k.target = c.oid and k.mode = 'materialized_view'
  where c.oid = rel;

  return next format(
    'create %s %s%s as %s%s',
    case when v_view.relkind = 'm' then 'materialized view' else 'view' end, v_name,
    case when v_view.reloptions is not null
      then format(' with (%s)', array_to_string(v_view.reloptions, ', ')) end,
    case when v_view.source is null then rtrim(pg_get_viewdef(rel), ';')
         else format('select %s from %s',
                     case when whole then '*' else pgstream._copied_columns(rel) end, v_view.source)
         end,
    case when v_view.relkind = 'm' and not v_view.relispopulated then ' with no data' else '' end);
  if v_view.source is not null then
    return next format('create unique index on %s (%s)', v_name,
                       (select string_agg(quote_ident(k), ', ') from unnest(v_view.key_columns) k));
  end if;
  return query
    select pg_get_indexdef(i.indexrelid)
    from pg_index i
    where i.indrelid = rel and not (i.indisunique and v_view.source is not null);
  return next format('alter table %s owner to %I', v_name, v_view.owner);
  return query select * from pgstream._grants(rel);
  return query select * from pgstream._comments(rel);
end
$$;

comment on function pgstream._definition is
  'The statements that make a view, or a materialized one, as it is. whole: one that caches a '
  'foreign table gets all columns that the table has by then.';

create or replace function pgstream._recipe(rel regclass, whole boolean default false)
  returns jsonb
  language sql stable parallel safe
begin atomic
  select jsonb_build_object(
    'oid', rel::oid::bigint, 'name', rel::text, 'owner', c.relowner::bigint,
    'statements', array(select d from pgstream._definition(rel, whole) d))
  from pg_class c
  where c.oid = rel;
end;

comment on function pgstream._recipe is
  'All that pgstream._make_again needs to know of a view that is about to be dropped.';

create or replace function pgstream._make_way(rel oid, column_number smallint default null)
  returns jsonb
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_view record;
  v_recipes jsonb := '[]';
begin
  for v_view in
    select v.relation::regclass as name, c.relkind
    from pgstream._views_on(rel, column_number) v
    join pg_class c on c.oid = v.relation
    order by v.depth desc
  loop
    v_recipes := pgstream._recipe(v_view.name) || v_recipes;
    execute format('drop %s %s',
                   case when v_view.relkind = 'm' then 'materialized view' else 'view' end,
                   v_view.name);
  end loop;
  return v_recipes;
end
$$;

comment on function pgstream._make_way is
  'Drops all views on a relation, or on one of its columns, and returns what is needed to make '
  'them again.';

create or replace function pgstream._make_again(recipes jsonb) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_view record;
begin
  for v_view in
    select r.oid, r.name, r.owner, r.statements
    from rows from (
      jsonb_to_recordset(recipes) as (oid oid, name text, owner oid, statements text[])
    ) with ordinality r(oid, name, owner, statements, n)
    order by r.n
  loop
    perform pgstream._execute_as_owner(v_view.owner, v_view.name, v_view.statements);
    update pgstream.cached_tables c
    set target = to_regclass(v_view.name)
    where c.target = v_view.oid;
  end loop;
end
$$;

comment on function pgstream._make_again is
  'Makes views as they were, each with the rights of its owner.';
