-- Keeps foreign tables as the tables that they stand for. Each table is repaired on its own: what
-- cannot be done for one is told and undone, and the others go on.

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

create or replace function pgstream._rename_foreign_table(
  relation regclass, was text, is_now text, final boolean
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_name record;
begin
  select c.relname, n.nspname, format('pgstream.%s', c.oid) as between into v_name
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = relation;
  if not final then
    execute format('alter foreign table %s options (set table_name %L)', relation, is_now);
    if v_name.relname = was then
      execute format('alter foreign table %s rename to %I', relation, v_name.between);
    end if;
  elsif v_name.relname = v_name.between then
    execute format('alter foreign table %s rename to %I', relation,
                   case when to_regclass(format('%I.%I', v_name.nspname, is_now)) is null
                     then is_now else was end);
  end if;
end
$$;

comment on function pgstream._rename_foreign_table is
  'Follows a table that has another name in the foreign database, in two rounds, so that names '
  'can be swapped. It is renamed here as well, unless it has a name of its own or the new one is '
  'taken.';

create or replace function pgstream._drop_foreign_table(relation regclass) returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_needed_by text;
begin
  select string_agg(o.name, ', ' order by o.name) into v_needed_by
  from (
    select pg_describe_object('pg_class'::regclass, v.relation, 0) as name
    from pgstream._views_on(relation) v
    union
    select b.name from pgstream._obstacles(relation) b(name)
    union
    select format('cached table %s', c.target)
    from pgstream.cached_tables c
    where c.source = _drop_foreign_table.relation
  ) o;
  if v_needed_by is null then
    execute format('drop foreign table %s', relation);
    delete from pgstream.foreign_tables f where f.relation = _drop_foreign_table.relation;
  end if;
  return v_needed_by;
end
$$;

comment on function pgstream._drop_foreign_table is
  'Drops a foreign table whose table is gone, unless something needs it; returns what does.';

create or replace function pgstream._sync_table(
  database pgstream.foreign_databases, matched jsonb, by_name boolean, types jsonb,
  out action text, out detail text, out problem text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation constant regclass := ((matched ->> 'relation_oid')::bigint)::oid;
  v_remote constant jsonb := nullif(matched -> 'remote', 'null');
  v_is_renamed constant boolean := v_remote ->> 'name' <> matched ->> 'known_name';
  v_altered record;
begin
  if v_remote is null then
    problem := pgstream._drop_foreign_table(v_relation);
    action := case when problem is null then 'dropped' else 'missing' end;
    problem := format('the table is gone from the foreign database, but needed by %s', problem);
    if action = 'dropped' then
      problem := null;
    end if;
  elsif v_relation is null then
    if to_regclass(pgstream._qualified(database.local_schema, v_remote ->> 'name')) is not null then
      action := 'blocked';
      problem := 'there is another relation of this name';
    else
      action := 'created';
      detail := pgstream._create_foreign_table(database.server_name, database.remote_schema,
                                               database.local_schema, v_remote, types);
    end if;
  else
    select * into v_altered
    from pgstream._alter_foreign_table(
      v_relation, database.server_name, matched -> 'known', v_remote -> 'columns',
      by_name or not (matched ->> 'is_same')::boolean, types);
    update pgstream.foreign_tables f
    set remote_oid = ((v_remote ->> 'oid')::bigint)::oid, remote_name = v_remote ->> 'name'
    where f.relation = v_relation;
    if v_is_renamed then
      v_altered.done := format('renamed from %s', matched ->> 'known_name') || v_altered.done;
    end if;
    problem := nullif(array_to_string(v_altered.problems, '; '), '');
    if problem is null and not (v_remote ->> 'is_readable')::boolean then
      problem := 'the foreign database does not let us read it';
    end if;
    action := case when problem is not null then 'blocked'
                   when v_altered.done <> '{}' then 'altered' end;
    detail := nullif(array_to_string(v_altered.done, '; '), '');
  end if;
exception
  when lock_not_available then
    action := 'failed';
    problem := 'in use by another transaction: sync again';
  when unsafe_new_enum_value_usage then
    action := 'failed';
    problem := 'a materialized view needs a label that was added only now: sync again';
  when others then
    action := 'failed';
    problem := sqlerrm;
end
$$;

comment on function pgstream._sync_table is
  'Creates, repairs or drops one foreign table, or says why it cannot.';

create or replace function pgstream._foreign_database(server_name text)
  returns pgstream.foreign_databases
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_database pgstream.foreign_databases;
begin
  perform pg_advisory_xact_lock(
    hashtextextended(format('pgstream.foreign.%s', server_name), 0));
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

create or replace function pgstream._sync(database pgstream.foreign_databases)
  returns table (foreign_table text, action text, detail text)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_place text;
  v_by_name boolean;
  v_remote record;
  v_matched jsonb;
  v_relation regclass;
  v_synced record;
  v_version bigint;
  v_table_names text[] := database.table_names;
  v_usual constant text := current_setting('lock_timeout');
begin
  if v_usual = '0' then
    -- nobody who reads a foreign table stands behind us for longer
    perform set_config('lock_timeout', '2s', true);
  end if;
  v_place := pgstream._open_catalogs(database.server_name);
  v_by_name := database.place is distinct from v_place;
  v_version := pgstream._remote_version(database.server_name);
  perform pgstream._check_schema(database);
  delete from pgstream.foreign_tables f
  where f.server_name = database.server_name
    and not exists (select from pg_class c where c.oid = f.relation);
  select * into v_remote from pgstream._read_remote(database, v_by_name);
  perform pgstream._close_catalogs();

  return query
    select m.type_name, 'altered', m.detail
    from pgstream._mirror_enums(database.server_name, database.local_schema, v_remote.types) m;
  select jsonb_agg(to_jsonb(m) || jsonb_build_object('relation_oid', m.relation::oid::bigint))
  into v_matched
  from pgstream._matched_tables(database.server_name, v_remote.tables, v_by_name) m;

  perform pgstream._rename_foreign_table(m.relation, m.known_name, m.new_name, false)
  from jsonb_to_recordset(v_matched) r(relation_oid oid, known_name text, remote jsonb)
  cross join lateral (
    select r.relation_oid::regclass as relation, r.known_name, r.remote ->> 'name' as new_name) m
  where m.relation is not null and m.known_name <> m.new_name;

  for v_matched in select m from jsonb_array_elements(v_matched) m loop
    v_relation := ((v_matched ->> 'relation_oid')::bigint)::oid;
    if v_matched ->> 'known_name' <> v_matched #>> '{remote,name}' then
      perform pgstream._rename_foreign_table(v_relation, v_matched ->> 'known_name',
                                             v_matched #>> '{remote,name}', true);
      v_table_names := array_replace(v_table_names, v_matched ->> 'known_name',
                                     v_matched #>> '{remote,name}');
    end if;
    foreign_table := coalesce(v_relation::text, pgstream._qualified(
      database.local_schema, v_matched #>> '{remote,name}'));
    select * into v_synced
    from pgstream._sync_table(database, v_matched, v_by_name, v_remote.types);
    update pgstream.foreign_tables f
    set problem = v_synced.problem
    where f.relation = v_relation
      and f.problem is distinct from v_synced.problem;
    if v_synced.action is not null then
      action := v_synced.action;
      detail := concat_ws('; ', v_synced.detail, v_synced.problem);
      return next;
    end if;
  end loop;
  perform pgstream._drop_unused_mirrors(database.server_name, v_remote.types);
  update pgstream.foreign_databases d
  set place = v_place, remote_version = v_version, synced_at = clock_timestamp(),
      last_error = null, last_error_at = null,
      table_names = v_table_names
  where d.server_name = database.server_name;
  perform set_config('lock_timeout', v_usual, true);
end
$$;

comment on function pgstream._sync is
  'Does the work of pgstream.sync_foreign_database for a database that is locked.';

create or replace function pgstream.sync_foreign_database(
  server_name text, dry_run boolean default false
) returns table (foreign_table text, action text, detail text)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_database constant pgstream.foreign_databases := pgstream._foreign_database(server_name);
  v_done jsonb;
begin
  begin
    select jsonb_agg(to_jsonb(s) order by s.n) into v_done
    from pgstream._sync(v_database) with ordinality s(foreign_table, action, detail, n);
    if dry_run then
      raise exception using errcode = 'PGS01';
    end if;
  exception when sqlstate 'PGS01' then
    -- what was tried is undone
  end;
  return query
    select r.* from jsonb_to_recordset(v_done) r(foreign_table text, action text, detail text);
end
$$;

comment on function pgstream.sync_foreign_database is
  'Makes the foreign tables of an imported database what its tables are now, in place: what was '
  'added, dropped, renamed or retyped there, and the labels of enum types. Views on them are '
  'kept; where something needs a column or table that is gone, it is named and left as it is. '
  'Returns what was done, and what could not be. dry_run: only tells. A materialized view on a '
  'column whose type has changed is filled again.';
