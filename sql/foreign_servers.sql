-- The extension, the foreign server and the user mapping of a database that is imported.

create or replace function pgstream._require_postgres_fdw(schema_name text) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_extension e where e.extname = 'postgres_fdw') then
    if not exists (select from pg_available_extensions a where a.name = 'postgres_fdw') then
      raise exception 'this server does not have the extension postgres_fdw'
        using errcode = 'feature_not_supported',
              hint = 'It is part of PostgreSQL: install the package of its contrib modules, '
                     'e.g. postgresql-contrib.';
    end if;
    begin
      execute format('create extension postgres_fdw schema %I',
                     coalesce((select n.nspname from pg_namespace n where n.nspname = 'public'),
                              schema_name));
    exception when insufficient_privilege then
      raise exception 'role % may not create the extension postgres_fdw', current_user
        using errcode = 'insufficient_privilege',
              hint = format(
                'As a superuser: create extension postgres_fdw; '
                'grant usage on foreign data wrapper postgres_fdw to %I;', current_user);
    end;
  end if;
  if not has_foreign_data_wrapper_privilege('postgres_fdw', 'usage') then
    raise exception 'role % may not create a foreign server', current_user
      using errcode = 'insufficient_privilege',
            hint = format('As a superuser: grant usage on foreign data wrapper postgres_fdw to %I;',
                          current_user);
  end if;
end
$$;

comment on function pgstream._require_postgres_fdw is
  'Creates the extension postgres_fdw where it is missing; fails with the way out.';

create or replace function pgstream._options(options jsonb, present text[]) returns text
  language sql immutable parallel safe
  return (
    select string_agg(
      format('%s %I %L',
             case when pgstream._foreign_option(present, o.key) is null then 'add' else 'set' end,
             o.key, o.value),
      ', ' order by o.key)
    from jsonb_each_text(options) o
    where o.value is not null);

comment on function pgstream._options is
  'These options as an ALTER takes them, where those are present already.';

create or replace function pgstream._set_server(server_name text, options jsonb) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_server record;
begin
  select s.oid, s.srvoptions, pg_get_userbyid(s.srvowner) as owner,
         pg_has_role(s.srvowner, 'usage') as is_ours
  into v_server
  from pg_foreign_server s
  where s.srvname = server_name;
  if not found then
    execute format('create server %I foreign data wrapper postgres_fdw', server_name);
  elsif not exists (
    select from pgstream.foreign_databases d where d.server_name = _set_server.server_name
  ) then
    raise exception 'there is a foreign server "%" already, which was not imported', server_name
      using errcode = 'duplicate_object', hint = 'Choose another server_name.';
  elsif not exists (
    select
    from jsonb_each_text(options) o
    where o.value is distinct from pgstream._foreign_option(v_server.srvoptions, o.key)
  ) then
    if not has_server_privilege(v_server.oid, 'usage') then
      raise exception 'role % may not use foreign server %', current_user, server_name
        using errcode = 'insufficient_privilege',
              hint = format('As %I: grant usage on foreign server %I to %I;', v_server.owner,
                            server_name, current_user);
    end if;
    return;
  elsif not v_server.is_ours then
    raise exception 'only % may change where server % leads', v_server.owner, server_name
      using errcode = 'insufficient_privilege',
            detail = format('Its options are: %s.', array_to_string(v_server.srvoptions, ', ')),
            hint = 'Give the same host, port, dbname and options for a user mapping of your own.';
  end if;
  execute format('alter server %I options (%s)', server_name,
                 pgstream._options(options, v_server.srvoptions));
end
$$;

comment on function pgstream._set_server is
  'Creates the foreign server of a database that is imported, or changes its options.';

create or replace function pgstream._set_user_mapping(
  server_name text, username text, password text
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_options text[];
begin
  if not exists (
    select from pg_user_mappings m where m.srvname = server_name and m.usename = current_user
  ) then
    execute format('create user mapping for current_user server %I', server_name);
  end if;
  select m.umoptions into v_options
  from pg_user_mappings m
  where m.srvname = server_name and m.usename = current_user;
  execute format('alter user mapping for current_user server %I options (%s)', server_name,
                 pgstream._options(
                   jsonb_build_object('user', username, 'password', password), v_options));
end
$$;

comment on function pgstream._set_user_mapping is
  'Makes or changes the user mapping of the caller: of nobody else, since whoever has one reads '
  'with its rights.';
