-- What stands in the catalogs of a foreign database. They are read through temporary foreign
-- tables, which exist only while a function of ours works: so nothing of them is ever seen, and all
-- that is read is of one snapshot of the other database.
--
-- IMPORT FOREIGN SCHEMA would not do: it fails as a whole at the first type that does not exist
-- here, knows nothing of keys, and cannot be repeated.

create or replace function pgstream._foreign_option(options text[], option text) returns text
  language sql immutable parallel safe
  return (select o.option_value from pg_options_to_table(options) o where o.option_name = option);

comment on function pgstream._foreign_option is
  'One of the options of a server, foreign table or column; null where it is not set.';

create or replace function pgstream._close_catalogs() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_table text;
begin
  for v_table in
    select c.relname
    from pg_class c
    where c.relnamespace = pg_my_temp_schema() and c.relkind = 'f' and c.relname ^@ 'pgstream_'
  loop
    execute format('drop foreign table pg_temp.%I', v_table);
  end loop;
end
$$;

comment on function pgstream._close_catalogs is
  'Drops the temporary foreign tables of pgstream._open_catalogs.';

create or replace function pgstream._open_catalog(
  server text, remote_schema text, remote_table text, columns text
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  execute format(
    'create foreign table pg_temp.%I (%s) server %I
     options (schema_name %L, table_name %L, fetch_size ''10000'')',
    format('pgstream_%s', remote_table), columns, server, remote_schema, remote_table);
end
$$;

comment on function pgstream._open_catalog is
  'Makes a table of a foreign database readable as pg_temp.pgstream_<its name>.';

create or replace function pgstream._open_catalogs(server text, out place text)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_key constant bigint := floor(random() * 1e15);
  v_server record;
  v_database oid;
  v_is_here boolean;
  v_message text;
  v_detail text;
begin
  perform pgstream._close_catalogs();
  perform pgstream._open_catalog(server, c.remote_schema, c.remote_table, c.columns)
  from (values
    ('pg_catalog', 'pg_database', 'oid oid, datname name'),
    ('pg_catalog', 'pg_locks', 'locktype text, database oid, classid oid, objid oid, pid integer'),
    ('pg_catalog', 'pg_namespace', 'oid oid, nspname name'),
    ('pg_catalog', 'pg_class',
     'oid oid, relname name, relnamespace oid, relkind "char", relispartition boolean'),
    ('pg_catalog', 'pg_attribute',
     'attrelid oid, attname name, atttypid oid, attnum smallint, atttypmod integer, '
     'attnotnull boolean, attisdropped boolean, attcollation oid'),
    ('pg_catalog', 'pg_type',
     'oid oid, typname name, typnamespace oid, typtype "char", typbasetype oid, '
     'typtypmod integer, typelem oid, typcategory "char"'),
    ('pg_catalog', 'pg_enum', 'oid oid, enumtypid oid, enumsortorder real, enumlabel name'),
    ('pg_catalog', 'pg_index',
     'indexrelid oid, indrelid oid, indnkeyatts smallint, indisunique boolean, '
     'indisprimary boolean, indimmediate boolean, indisvalid boolean, indkey int2vector, '
     'indexprs text, indpred text'),
    ('information_schema', 'tables', 'table_schema text, table_name text')
  ) c (remote_schema, remote_table, columns);

  select pgstream._foreign_option(s.srvoptions, 'host') as host,
         pgstream._foreign_option(s.srvoptions, 'port') as port,
         pgstream._foreign_option(s.srvoptions, 'dbname') as dbname
  into v_server
  from pg_foreign_server s
  where s.srvname = server;
  execute 'select d.oid from pg_temp.pgstream_pg_database d where d.datname = $1'
  into v_database using v_server.dbname;
  place := format('%s:%s/%s#%s', v_server.host, v_server.port, v_server.dbname, v_database);

  -- every database of a cluster sees the locks of all the others; the key is drawn anew each time,
  -- so nobody can hold it before, and holding it together with us changes nothing
  perform pg_advisory_xact_lock(v_key);
  execute
    'select exists (
       select
       from pg_temp.pgstream_pg_locks l
       where l.locktype = ''advisory'' and l.pid = $1 and l.database = $3
         and l.classid::bigint << 32 | l.objid::bigint = $2)'
  into v_is_here using pg_backend_pid(), v_key, v_database;
  if v_is_here then
    raise exception 'server % leads back to this database', server
      using errcode = 'invalid_parameter_value',
            detail = 'A database cannot import itself.',
            hint = 'Give the host, port and dbname of the other database.';
  end if;
exception when sqlclient_unable_to_establish_sqlconnection or connection_failure then
  get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail;
  raise exception 'cannot connect to foreign database %', server
    using errcode = 'sqlclient_unable_to_establish_sqlconnection',
          detail = concat_ws(': ', v_message, nullif(v_detail, '')),
          hint = 'When it can be reached, or with the right password, run the same again.';
end
$$;

comment on function pgstream._open_catalogs is
  'Makes the catalogs of a foreign database readable as pg_temp.pgstream_<catalog>, and returns '
  'what tells it from others: where it is, and its oid. Fails when it is this database.';

create or replace function pgstream._count_versions(server text) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
begin
  perform pgstream._open_catalog(server, 'pgstream', 'schema_log', 'version bigint');
  execute 'select count(*) from pg_temp.pgstream_schema_log' into v_count;
  return v_count;
end
$$;

comment on function pgstream._count_versions is
  'How many versions the schema log of a foreign database has.';

create or replace function pgstream._remote_version(server text) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_has_log boolean;
begin
  execute
    'select exists (
       select from pg_temp.pgstream_tables t
       where t.table_schema = ''pgstream'' and t.table_name = ''schema_log'')'
  into v_has_log;
  return case when v_has_log then pgstream._count_versions(server) end;
end
$$;

comment on function pgstream._remote_version is
  'The same of the one whose catalogs are open; null where it runs no pgstream, or its log may '
  'not be read.';

create or replace function pgstream._remote_tables(
  remote_schema text, table_names text[], known oid[]
) returns table (remote_oid oid, name text, is_readable boolean, columns jsonb)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  return query execute
    'with tables as materialized (
       select c.oid, c.relname, c.relkind
       from pg_temp.pgstream_pg_class c
       where c.relnamespace = (
           select n.oid from pg_temp.pgstream_pg_namespace n where n.nspname = $1)
         and (c.oid = any ($3)
              or case when $2 is null
                   then c.relkind in (''r'', ''p'', ''v'', ''m'') and not c.relispartition
                   else c.relkind in (''r'', ''p'', ''v'', ''m'', ''f'') and c.relname = any ($2)
                 end)
     ), readable as materialized (
       select t.table_name from pg_temp.pgstream_tables t where t.table_schema = $1
     ), attributes as materialized (
       select a.*
       from pg_temp.pgstream_pg_attribute a
       where a.attnum > 0 and not a.attisdropped
         and a.attrelid = any (array(select t.oid from tables t))
     ), keys as (
       select distinct on (i.indrelid) i.indrelid, i.indkey::smallint[] as indkey, i.indnkeyatts
       from pg_temp.pgstream_pg_index i
       where i.indisunique and i.indimmediate and i.indisvalid
         and i.indexprs is null and i.indpred is null
         and i.indrelid = any (array(select t.oid from tables t))
         and not exists (
           select
           from unnest(i.indkey::smallint[]) with ordinality k(attnum, place)
           join attributes a on a.attrelid = i.indrelid and a.attnum = k.attnum
           where k.place <= i.indnkeyatts and not a.attnotnull)
       order by i.indrelid, i.indisprimary desc, i.indnkeyatts, i.indexrelid
     )
     select t.oid, t.relname::text,
            t.relkind = ''m'' or exists (select from readable r where r.table_name = t.relname),
            (select coalesce(
               jsonb_agg(
                 jsonb_build_object(
                   ''number'', a.attnum, ''name'', a.attname, ''type'', a.atttypid::bigint,
                   ''typmod'', a.atttypmod, ''not_null'', a.attnotnull,
                   ''collation'', a.attcollation::bigint,
                   ''key'', (select k.place
                             from unnest(i.indkey) with ordinality k(attnum, place)
                             where k.attnum = a.attnum and k.place <= i.indnkeyatts))
                 order by a.attnum),
               ''[]'')
             from attributes a
             left join keys i on i.indrelid = a.attrelid
             where a.attrelid = t.oid)
     from tables t
     order by t.relname'
  using remote_schema, table_names, known;
end
$$;

comment on function pgstream._remote_tables is
  'The tables of a schema of the foreign database whose catalogs are open, with their columns and '
  'the place of each in the key. table_names: only these, else all but partitions. known: these as '
  'well, by oid.';

create or replace function pgstream._remote_types(used oid[]) returns jsonb
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_types jsonb := '{}';
  v_wanted oid[] := used;
  v_found jsonb;
begin
  loop
    execute
      'with types as materialized (
         select t.* from pg_temp.pgstream_pg_type t where t.oid = any ($1)
       ), labels as (
         select e.enumtypid,
                jsonb_agg(jsonb_build_object(''id'', e.oid::bigint, ''label'', e.enumlabel)
                          order by e.enumsortorder) as labels
         from pg_temp.pgstream_pg_enum e
         where e.enumtypid = any ($1)
         group by e.enumtypid
       )
       select jsonb_object_agg(t.oid, jsonb_build_object(
                ''schema'', n.nspname, ''name'', t.typname, ''kind'', t.typtype,
                ''base'', t.typbasetype::bigint, ''typmod'', t.typtypmod,
                ''element'', case when t.typcategory = ''A'' then t.typelem::bigint end,
                ''labels'', l.labels))
       from types t
       join pg_temp.pgstream_pg_namespace n on n.oid = t.typnamespace
       left join labels l on l.enumtypid = t.oid'
    into v_found using v_wanted;
    exit when v_found is null;
    v_types := v_types || v_found;
    select array_agg(distinct w.oid) into v_wanted
    from (
      select ((t.value ->> 'base')::bigint)::oid as oid from jsonb_each(v_found) t
      union all
      select ((t.value ->> 'element')::bigint)::oid from jsonb_each(v_found) t
    ) w
    where w.oid >= 10000 and not v_types ? w.oid::text;
    exit when v_wanted is null;
  end loop;
  return v_types;
end
$$;

comment on function pgstream._remote_types is
  'What the foreign database whose catalogs are open knows of these types, by oid, and of those '
  'that they are made of.';
