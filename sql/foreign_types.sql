-- Which type a column of a foreign table gets here. Types of Postgres itself are the same
-- everywhere: their oids are below 10000. Of the others, enum types are mirrored in the local
-- schema, domains become what they are made of, a type of the same extension or of the same name is
-- taken where there is one here, and all else is pgstream.foreign_text. A type of the same name has
-- to belong to who could be the owner of the server anyway: reading a value of it runs code of its
-- owner, and what it is called is the choice of the foreign database. A condition on a column of
-- a mirrored type or of foreign_text is never sent to the other database, where it could not be
-- understood.

create or replace function pgstream._is_readable_anywhere(type oid) returns boolean
  language sql stable strict parallel safe
begin atomic
  -- what names objects, or cannot be read from text at all, means nothing in another database
  select exists (
    select from pg_type t
    where t.oid = type
      and t.typname !~ '^_?(reg|aclitem|pg_(node_tree|ndistinct|dependencies|mcv_list|brin))');
end;

comment on function pgstream._is_readable_anywhere is
  'Whether a type of Postgres itself exists here, and its values can be read in any database.';

-- of another signature before
drop function if exists pgstream._type_like(jsonb);

create or replace function pgstream._type_like(type jsonb, reader oid) returns oid
  language sql stable strict parallel safe
begin atomic
  select t.oid
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
  left join pg_depend d
    on d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
  where t.typname = type ->> 'name' and t.typtype::text = type ->> 'kind'
    and t.typisdefined
    and (d.objid is not null
         or n.nspname = type ->> 'schema' and pgstream._could_become(t.typowner, reader))
  order by n.nspname = type ->> 'schema' desc, t.oid
  limit 1;
end;

comment on function pgstream._type_like is
  'The type here that a type of a foreign database stands for: of an extension, or of the same '
  'schema, made by who could be the reader; null where there is none.';

create or replace function pgstream._local_type(
  types jsonb, server text, type oid, typmod integer
) returns text
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_type constant jsonb := types -> type::text;
  v_unknown constant text := 'pgstream.foreign_text';
  v_type_name text;
begin
  if type < 10000 then
    return case when pgstream._is_readable_anywhere(type) then format_type(type, typmod)
             else v_unknown end;
  elsif v_type ->> 'kind' = 'd' then
    return pgstream._local_type(types, server, ((v_type ->> 'base')::bigint)::oid,
                                (v_type ->> 'typmod')::integer);
  elsif v_type ->> 'kind' = 'e' then
    select format_type(t.type, null) into v_type_name
    from pgstream.foreign_types t
    where t.server_name = server and t.remote_oid = _local_type.type;
    return coalesce(v_type_name, v_unknown);
  elsif v_type ->> 'element' is not null then
    v_type_name := pgstream._local_type(types, server, ((v_type ->> 'element')::bigint)::oid,
                                        typmod);
    return case when v_type_name = v_unknown or v_type_name like '%[]' then v_unknown
             else format('%s[]', v_type_name) end;
  end if;
  select format_type(pgstream._type_like(v_type, s.srvowner), typmod) into v_type_name
  from pg_foreign_server s
  where s.srvname = server;
  return coalesce(v_type_name, v_unknown);
end
$$;

comment on function pgstream._local_type is
  'The type here, as it is written, for a type of a foreign database. types: what '
  'pgstream._remote_types tells.';

create or replace function pgstream._free_type_name(schema_name text, names text[]) returns text
  language sql stable parallel safe
begin atomic
  select n.name
  from (
    select left(n.name, 63) as name, n.place
    from unnest(names) with ordinality n(name, place)
  ) n
  where not exists (
    select
    from pg_type t
    join pg_namespace s on s.oid = t.typnamespace
    where s.nspname = schema_name and t.typname = n.name)
  order by n.place
  limit 1;
end;

comment on function pgstream._free_type_name is 'The first of the names that no type has.';

create or replace function pgstream._adopt_mirror(
  server text, remote_oid oid, definition jsonb, types jsonb
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_old record;
  v_new constant text[] := array(
    select l ->> 'label' from jsonb_array_elements(definition -> 'labels') with ordinality a(l, n)
    order by n);
begin
  select f.*, array(select l ->> 'label' from jsonb_array_elements(f.labels) with ordinality a(l, n)
                    order by n) as names, n.nspname, t.typname
  into v_old
  from pgstream.foreign_types f
  join pg_type t on t.oid = f.type
  join pg_namespace n on n.oid = t.typnamespace
  where f.server_name = server and t.typname = definition ->> 'name'
    and not types ? f.remote_oid::text;
  if not found then
    return;
  elsif v_old.names = array(select n from unnest(v_new) with ordinality u(n, place)
                            where n = any (v_old.names) order by place) then
    update pgstream.foreign_types f
    set remote_oid = _adopt_mirror.remote_oid,
        labels = (select jsonb_agg(l order by n)
                  from jsonb_array_elements(definition -> 'labels') with ordinality a(l, n)
                  where l ->> 'label' = any (v_old.names))
    where f.server_name = server and f.remote_oid = v_old.remote_oid;
  else
    execute format('alter type %I.%I rename to %I', v_old.nspname, v_old.typname,
                   pgstream._free_type_name(v_old.nspname, array[
                     format('%s_%s', left(v_old.typname, 50), v_old.remote_oid)]));
  end if;
end
$$;

comment on function pgstream._adopt_mirror is
  'Where an enum type of the same name was mirrored, and is gone: goes on with its mirror, when '
  'that only needs more labels, or else moves it out of the way.';

create or replace function pgstream._mirror_enum(
  server text, local_schema text, remote_oid oid, definition jsonb, types jsonb
) returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_known record;
  v_label record;
  v_type_name text;
  v_done text[] := '{}';
begin
  if not exists (
    select from pgstream.foreign_types f
    where f.server_name = server and f.remote_oid = _mirror_enum.remote_oid
  ) then
    perform pgstream._adopt_mirror(server, remote_oid, definition, types);
  end if;
  select f.* into v_known
  from pgstream.foreign_types f
  where f.server_name = server and f.remote_oid = _mirror_enum.remote_oid;
  if not found then
    v_type_name := format('%I.%I', local_schema, pgstream._free_type_name(local_schema, array[
      definition ->> 'name', format('%s_%s', definition ->> 'schema', definition ->> 'name'),
      format('%s_%s', left(definition ->> 'name', 50), remote_oid)]));
    execute format('create type %s as enum (%s)', v_type_name,
                   (select string_agg(quote_literal(l ->> 'label'), ', ' order by n)
                    from jsonb_array_elements(definition -> 'labels') with ordinality a(l, n)));
    insert into pgstream.foreign_types (server_name, remote_oid, type, labels)
    values (server, remote_oid, to_regtype(v_type_name), coalesce(definition -> 'labels', '[]'));
    return 'created';
  end if;
  v_type_name := format_type(v_known.type, null);
  for v_label in
    select l ->> 'label' as label, k.label as known,
           lag(l ->> 'label') over (order by a.n) as previous,
           first_value(k.label) over (order by k.n nulls last) as first
    from jsonb_array_elements(definition -> 'labels') with ordinality a(l, n)
    left join (
      select o ->> 'id' as id, o ->> 'label' as label, n
      from jsonb_array_elements(v_known.labels) with ordinality b(o, n)
    ) k on k.id = l ->> 'id'
    order by a.n
  loop
    if v_label.known is null then
      execute format('alter type %s add value %L %s', v_type_name, v_label.label,
                     case when v_label.previous is not null
                       then format('after %L', v_label.previous)
                       when v_label.first is not null then format('before %L', v_label.first)
                       else '' end);
      v_done := v_done || format('label %s added', v_label.label);
    elsif v_label.known <> v_label.label then
      execute format('alter type %s rename value %L to %L', v_type_name, v_label.known,
                     v_label.label);
      v_done := v_done || format('label %s renamed to %s', v_label.known, v_label.label);
    end if;
  end loop;
  update pgstream.foreign_types f
  set labels = definition -> 'labels'
  where f.server_name = server and f.remote_oid = _mirror_enum.remote_oid;
  return array_to_string(nullif(v_done, '{}'), '; ');
end
$$;

comment on function pgstream._mirror_enum is
  'Makes the mirror of an enum type, or gives it the labels that the type has now; returns what '
  'was done. Labels are told apart by their oids, so that a renamed one is renamed here.';

create or replace function pgstream._mirror_enums(server text, local_schema text, types jsonb)
  returns table (type_name text, detail text)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_type record;
begin
  delete from pgstream.foreign_types f
  where f.server_name = server and not exists (select from pg_type t where t.oid = f.type);
  for v_type in
    select t.key::oid as remote_oid, t.value as type
    from jsonb_each(types) t
    where t.value ->> 'kind' = 'e'
    order by t.value ->> 'name', t.key::oid
  loop
    detail := pgstream._mirror_enum(server, local_schema, v_type.remote_oid, v_type.type, types);
    select format_type(f.type, null) into type_name
    from pgstream.foreign_types f
    where f.server_name = server and f.remote_oid = v_type.remote_oid;
    if detail is not null then
      return next;
    end if;
  end loop;
end
$$;

comment on function pgstream._mirror_enums is
  'Brings the mirrors of all the enum types among these in step, and returns what was done.';

create or replace function pgstream._drop_unused_mirrors(server text, types jsonb) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_type record;
begin
  for v_type in
    select f.remote_oid, format_type(f.type, null) as type_name
    from pgstream.foreign_types f
    where f.server_name = server and not types ? f.remote_oid::text
      and not exists (
        select
        from pg_depend d
        where d.refclassid = 'pg_type'::regclass and d.deptype = 'n'
          and d.refobjid in (f.type, (select t.typarray from pg_type t where t.oid = f.type)))
  loop
    execute format('drop type %s', v_type.type_name);
    delete from pgstream.foreign_types f
    where f.server_name = server and f.remote_oid = v_type.remote_oid;
  end loop;
end
$$;

comment on function pgstream._drop_unused_mirrors is
  'Drops the mirrors of enum types that no foreign table has any more, unless somebody else uses '
  'them.';
