create or replace function pgstream._check_given(given jsonb) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_given record;
begin
  for v_given in select g.key as what, g.value as text from jsonb_each_text(given) g loop
    if coalesce(v_given.text, '') = '' then
      raise exception '% is missing', v_given.what
        using errcode = 'null_value_not_allowed',
              hint = format('Give it as %s => ....', v_given.what);
    elsif octet_length(v_given.text) > 63 and v_given.what <> 'host' then
      raise exception '% is longer than 63 bytes', v_given.what
        using errcode = 'name_too_long',
              detail = format('%s: %s', v_given.what, v_given.text),
              hint = 'Postgres would cut it off. Choose a shorter one.';
    end if;
  end loop;
end
$$;

comment on function pgstream._check_given is 'Fails where a parameter is missing, or too long.';

create or replace function pgstream._check_import(
  server_name text, local_schema text, options jsonb, given jsonb
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_known record;
begin
  perform pgstream._check_given(given);
  if pgstream.is_system_schema(local_schema) then
    raise exception 'nothing can be imported into schema %', local_schema
      using errcode = 'invalid_parameter_value',
            hint = 'Name another local_schema; it is made where there is none.';
  elsif jsonb_typeof(options) <> 'object' or options ?| '{host,port,dbname,user,password}' then
    raise exception 'options must be an object of options of the server'
      using errcode = 'invalid_parameter_value',
            detail = 'host, port, dbname, username and password are parameters of their own.',
            hint = 'For example: options => ''{"fetch_size": "1000", "sslmode": "require"}''.';
  end if;
  select d.remote_schema, d.local_schema into v_known
  from pgstream.foreign_databases d
  where d.server_name = _check_import.server_name
    and exists (select from pg_foreign_server s where s.srvname = d.server_name);
  if v_known.remote_schema <> given ->> 'remote_schema' or v_known.local_schema <> local_schema then
    raise exception 'server % imports schema % into %', server_name, v_known.remote_schema,
      v_known.local_schema
      using errcode = 'invalid_parameter_value',
            hint = 'Choose another server_name for another schema.';
  end if;
end
$$;

comment on function pgstream._check_import is
  'Fails where something that is given for an import cannot be.';

create or replace function pgstream.import_foreign_database(
  server_name text, host text, port integer, dbname text, username text, password text,
  remote_schema text default 'public', local_schema text default null,
  table_names text[] default null, options jsonb default '{}'
) returns table (foreign_table text, action text, detail text)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_local_schema constant text := coalesce(local_schema, server_name);
  v_options constant jsonb := jsonb_build_object(
    'connect_timeout', '5', 'keepalives_idle', '30', 'keepalives_interval', '10',
    'keepalives_count', '3', 'keep_connections', 'off', 'fetch_size', '10000', 'updatable', 'false'
  ) || options || jsonb_build_object('host', host, 'port', port::text, 'dbname', dbname);
  v_done jsonb;
  v_missing text;
  v_problems text;
begin
  perform pgstream._check_import(
    server_name, v_local_schema, options,
    jsonb_build_object('server_name', server_name, 'local_schema', v_local_schema, 'host', host,
                       'port', port, 'dbname', dbname, 'username', username,
                       'remote_schema', remote_schema));
  perform pgstream._take_turn('foreign', 'the import of a foreign database');
  if to_regnamespace(quote_ident(v_local_schema)) is null then
    if not has_database_privilege(current_database(), 'create') then
      raise exception 'role % may not create schema %', current_user, v_local_schema
        using errcode = 'insufficient_privilege',
              hint = format('Create the schema for it, or: grant create on database %I to %I;',
                            current_database(), current_user);
    end if;
    execute format('create schema %I', v_local_schema);
  end if;
  perform pgstream._require_postgres_fdw(v_local_schema);
  delete from pgstream.foreign_databases d
  where d.server_name = import_foreign_database.server_name
    and not exists (select from pg_foreign_server s where s.srvname = d.server_name);
  perform pgstream._set_server(server_name, v_options);
  perform pgstream._set_user_mapping(server_name, username, password);
  insert into pgstream.foreign_databases as d
    (server_name, remote_schema, local_schema, table_names)
  values (server_name, remote_schema, v_local_schema, table_names)
  on conflict on constraint foreign_databases_pkey do update
  set table_names = array(select unnest(d.table_names) union select unnest(excluded.table_names))
  where d.table_names is not null and excluded.table_names is not null;
  if table_names is null then
    update pgstream.foreign_databases d
    set table_names = null
    where d.server_name = import_foreign_database.server_name;
  end if;

  select jsonb_agg(to_jsonb(s) order by s.n),
         string_agg(format('%s: %s', s.foreign_table, s.detail), '; ' order by s.n)
           filter (where s.action in ('blocked', 'failed', 'missing'))
  into v_done, v_problems
  from pgstream._sync(pgstream._foreign_database(server_name))
    with ordinality s(foreign_table, action, detail, n);
  if v_problems is not null then
    raise exception 'foreign database % cannot be imported as it is', server_name
      using errcode = 'object_not_in_prerequisite_state',
            detail = v_problems,
            hint = 'Nothing was changed. Drop or rename what is in the way, or name the tables '
                   'that you need: table_names => ''{...}''.';
  end if;
  select string_agg(n, ', ') into v_missing
  from unnest(table_names) n
  where not exists (
    select from pgstream.foreign_tables f
    where f.server_name = import_foreign_database.server_name and f.remote_name = n);
  if v_missing is not null then
    raise exception 'schema % of foreign database % has no table %', remote_schema, server_name,
      v_missing
      using errcode = 'undefined_table',
            detail = format('User %s can see no such table there.', username),
            hint = 'Correct table_names, or grant that user SELECT on it there.';
  end if;
  return query
    select r.* from jsonb_to_recordset(v_done) r(foreign_table text, action text, detail text);
end
$$;

comment on function pgstream.import_foreign_database is
  'Makes the tables and views of a schema of another Postgres database readable here, as foreign '
  'tables in local_schema (by default named like the server), and returns what it did; all or '
  'nothing. Run again it changes the server, the password and the tables as needed. table_names: '
  'only these. options: of the server, see the documentation of postgres_fdw. The user mapping, '
  'with the password, is for the caller alone; give others views.';

create or replace function pgstream.drop_foreign_database(server_name text) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_database constant pgstream.foreign_databases := pgstream._foreign_database(server_name);
  v_cached text;
  v_object record;
begin
  select string_agg(c.target::text, ', ') into v_cached
  from pgstream.cached_tables c
  join pgstream.foreign_tables f on f.relation = c.source
  where f.server_name = v_database.server_name;
  if v_cached is not null then
    raise exception 'tables of foreign database % are cached', server_name
      using errcode = 'dependent_objects_still_exist',
            detail = format('Cached tables: %s.', v_cached),
            hint = 'select pgstream.uncache_foreign_table(''...'');';
  end if;
  for v_object in
    select format('drop foreign table %s', c.oid::regclass) as statement
    from pg_class c
    join pgstream.foreign_tables f on f.relation = c.oid
    where f.server_name = v_database.server_name
    union all
    select format('drop type %s', t.oid::regtype)
    from pg_type t
    join pgstream.foreign_types f on f.type = t.oid
    where f.server_name = v_database.server_name
  loop
    execute v_object.statement;
  end loop;
  for v_object in
    select case when m.umuser = 0 then 'public' else format('%I', m.usename) end as who
    from pg_user_mappings m
    where m.srvname = v_database.server_name
  loop
    execute format('drop user mapping for %s server %I', v_object.who, server_name);
  end loop;
  execute format('drop server %I', server_name);
  delete from pgstream.foreign_databases d where d.server_name = v_database.server_name;
end
$$;

comment on function pgstream.drop_foreign_database is
  'Drops the foreign tables, the mirrored types, the user mappings and the server of an imported '
  'database. Fails with 2BP01, changing nothing, when something depends on them. The local schema '
  'stays.';
