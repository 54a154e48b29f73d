-- Which foreign tables there are of an imported database, beside the tables that it has.

create or replace function pgstream._matched_tables(server text, tables jsonb, by_name boolean)
  returns table (relation regclass, known jsonb, known_name text, remote jsonb, is_same boolean)
  language sql stable parallel safe
begin atomic
  with tracked as (
    select f.relation, f.columns, f.remote_name, coalesce(o.oid, n.oid) as oid,
           o.oid is not null as is_same
    from pgstream.foreign_tables f
    left join lateral (
      select r ->> 'oid' as oid from jsonb_array_elements(tables) r
      where not by_name and r ->> 'oid' = f.remote_oid::text
    ) o on true
    left join lateral (
      -- nobody else's by its oid
      select r ->> 'oid' as oid from jsonb_array_elements(tables) r
      where o.oid is null and r ->> 'name' = f.remote_name
        and (by_name or not exists (
          select from pgstream.foreign_tables x
          where x.server_name = server and x.remote_oid::text = r ->> 'oid'))
    ) n on true
    where f.server_name = server
  )
  select t.relation, t.columns, t.remote_name, r.value, coalesce(t.is_same, false)
  from tracked t
  full join jsonb_array_elements(tables) r(value) on r.value ->> 'oid' = t.oid
  -- what is gone first, so that its name is free, then what has another name, and new ones last
  order by r.value is not null, t.relation is null,
           r.value ->> 'name' is not distinct from t.remote_name, r.value ->> 'name';
end;

comment on function pgstream._matched_tables is
  'The foreign tables of a server beside the tables that its database has; is_same: by the oid. '
  'by_name: oids mean nothing any more.';

create or replace function pgstream._take_turn(what text, subject text) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  -- each deployment may do the same at once, and one import takes seconds
  if not pgstream._try_lock(what, deadline => clock_timestamp() + interval '1 min') then
    raise exception '% is being worked on by another transaction', subject
      using errcode = 'lock_not_available', hint = 'Run the same again when that has ended.';
  end if;
end
$$;

comment on function pgstream._take_turn is
  'Waits for others that do the same, for a minute, and keeps them out until the transaction ends.';

create or replace function pgstream._foreign_database(server_name text)
  returns pgstream.foreign_databases
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_database pgstream.foreign_databases;
begin
  perform pgstream._take_turn(format('foreign.%s', server_name),
                              format('foreign database %s', server_name));
  select d.* into v_database
  from pgstream.foreign_databases d
  join pg_foreign_server s on s.srvname = d.server_name
  where d.server_name = _foreign_database.server_name;
  if not found then
    raise exception 'there is no foreign database "%"', server_name
      using errcode = 'undefined_object',
            detail = format('Imported are: %s.', coalesce(
              (select string_agg(d.server_name, ', ' order by d.server_name)
               from pgstream.foreign_databases d), 'none')),
            hint = 'select * from pgstream.import_foreign_database(server_name => ..., ...);';
  end if;
  return v_database;
end
$$;

comment on function pgstream._foreign_database is
  'A foreign database that was imported, for this transaction alone to change.';

create or replace function pgstream._check_schema(database pgstream.foreign_databases)
  returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_schemas text[];
begin
  execute
    'select array_agg(n.nspname::text order by n.nspname) from pg_temp.pgstream_pg_namespace n
     where not n.nspname ^@ ''pg_'''
  into v_schemas;
  if not database.remote_schema = any (v_schemas) then
    raise exception 'foreign database % has no schema "%"', database.server_name,
      database.remote_schema
      using errcode = 'invalid_schema_name',
            detail = format('Its schemas are: %s.', array_to_string(v_schemas, ', ')),
            hint = 'Name one of them as remote_schema.';
  end if;
end
$$;

comment on function pgstream._check_schema is
  'Fails where the foreign database whose catalogs are open has not the schema that is imported.';

create or replace function pgstream._read_remote(
  database pgstream.foreign_databases, by_name boolean, out tables jsonb, out types jsonb
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  select coalesce(jsonb_agg(jsonb_build_object(
           'oid', t.remote_oid::bigint, 'name', t.name, 'is_readable', t.is_readable,
           'columns', t.columns)), '[]')
  into tables
  from pgstream._remote_tables(
    database.remote_schema, database.table_names,
    array(select f.remote_oid from pgstream.foreign_tables f
          where f.server_name = database.server_name and not by_name)) t
  -- what may not be read is not imported, but what was imported is not dropped for that
  where t.is_readable or exists (
    select from pgstream.foreign_tables f
    where f.server_name = database.server_name
      and (f.remote_oid = t.remote_oid or f.remote_name = t.name));
  types := pgstream._remote_types(array(
    select distinct ((c ->> 'type')::bigint)::oid
    from jsonb_array_elements(tables) t, jsonb_array_elements(t -> 'columns') c
    where (c ->> 'type')::bigint >= 10000));
end
$$;

comment on function pgstream._read_remote is
  'The tables to import, and their types, of the foreign database whose catalogs are open.';
