-- Nothing here may make a user's statement fail or wait: what goes wrong is caught, recorded in
-- pgstream.ddl_error and raised as a warning.

create or replace function pgstream._try_sync_publications(command_tag text) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  begin
    perform pgstream._unpublish_unwritable();
  exception when others then
    perform pgstream._record_ddl_error(command_tag, null, sqlstate, sqlerrm);
  end;
  begin
    if not pgstream._try_lock('membership', shared => true) then
      perform pgstream._refuse_locked('the set of subscriptions and tables is');
    end if;
    perform pgstream._sync_publications(queue => false);
  exception when others then
    perform pgstream._record_ddl_error(command_tag, null, sqlstate, sqlerrm);
  end;
end
$$;

comment on function pgstream._try_sync_publications is
  'Brings the publications in step; what goes wrong becomes a row of pgstream.ddl_error.';

create or replace function pgstream._log_is_skipped() returns boolean
  language sql stable parallel safe
  return lower(coalesce(current_setting('pgstream.skip_log', true), ''))
         in ('on', 'true', 'yes', '1');

comment on function pgstream._log_is_skipped is
  'Whether the session has set pgstream.skip_log, so that its DDL is not logged.';

create or replace function pgstream._schemas_of(class_id oid, object_id oid)
  returns setof text
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if class_id = 'pg_namespace'::regclass then
    return query select n.nspname::text from pg_namespace n where n.oid = object_id;
  elsif class_id = 'pg_class'::regclass then
    return query
      with recursive family as (
        select object_id as rel
        union
        select i.inhrelid from family f join pg_inherits i on i.inhparent = f.rel
      )
      select n.nspname::text
      from family f
      join pg_class c on c.oid = f.rel
      join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p');
    if current_setting('transaction_isolation') <> 'serializable' then
      return query
        select i.schema_name from pgstream.table_ids i where i.oid = object_id::bigint;
    end if;
  end if;
end
$$;

comment on function pgstream._schemas_of is
  'The schemas whose description an object is part of: for a table its own, that of its children, '
  'and the one that it stood in before.';

create or replace function pgstream._on_ddl_command_end() returns event_trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: the user who runs DDL has no rights on schema pgstream
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_schemas text[];
begin
  select array_agg(distinct s.name) into v_schemas
  from pg_event_trigger_ddl_commands() d
  cross join lateral pgstream._schemas_of(d.classid, d.objid) s(name)
  where not d.in_extension
    and d.schema_name is distinct from 'pg_temp'
    and not pgstream.is_system_schema(s.name);

  if v_schemas is null then
    return;
  end if;
  if tg_tag <> 'ALTER SCHEMA' and not pgstream._log_is_skipped() then
    perform pgstream._try_log_schema(s, tg_tag) from unnest(v_schemas) s order by s;
  end if;
  perform pgstream._try_sync_publications(tg_tag);
end
$$;

comment on function pgstream._on_ddl_command_end is
  'Event trigger: logs the schemas whose tables a statement has made or altered, and publishes '
  'the tables that subscriptions want.';

create or replace function pgstream._on_sql_drop() returns event_trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: the user who runs DDL has no rights on schema pgstream
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_schemas text[];
begin
  if not exists (
    select from pg_event_trigger_dropped_objects() d
    where not d.is_temporary
      and d.object_type in ('table', 'schema', 'index', 'table column', 'table constraint')
      and not pgstream.is_system_schema(coalesce(d.schema_name, d.object_name))
  ) then
    return;
  end if;

  begin
    if current_setting('transaction_isolation') <> 'serializable' then
      delete from pgstream.table_ids i
      using pg_event_trigger_dropped_objects() d
      where d.classid = 'pg_class'::regclass and d.objsubid = 0 and i.oid = d.objid::bigint;
    end if;
  exception when others then
    perform pgstream._record_ddl_error(tg_tag, null, sqlstate, sqlerrm);
  end;

  if not pgstream._log_is_skipped() then
    select array_agg(distinct coalesce(d.schema_name, d.object_name)) into v_schemas
    from pg_event_trigger_dropped_objects() d
    where not d.is_temporary
      and d.object_type in ('table', 'schema')
      and not pgstream.is_system_schema(coalesce(d.schema_name, d.object_name));
    perform pgstream._try_log_schema(s, tg_tag) from unnest(v_schemas) s order by s;
  end if;
  perform pgstream._try_sync_publications(tg_tag);
end
$$;

comment on function pgstream._on_sql_drop is
  'Event trigger: logs the schemas that a statement has dropped or dropped tables of, and takes a '
  'table that has lost its replica identity out of pgstream_update.';

do $$
begin
  if not exists (select from pg_event_trigger where evtname = 'pgstream_ddl_command_end') then
    create event trigger pgstream_ddl_command_end on ddl_command_end
      when tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE',
                   'CREATE SCHEMA', 'ALTER SCHEMA')
      execute function pgstream._on_ddl_command_end();
    alter event trigger pgstream_ddl_command_end enable always;
  end if;
  if not exists (select from pg_event_trigger where evtname = 'pgstream_sql_drop') then
    create event trigger pgstream_sql_drop on sql_drop
      execute function pgstream._on_sql_drop();
    alter event trigger pgstream_sql_drop enable always;
  end if;
exception when insufficient_privilege then
  raise warning 'this role may not create event triggers: changes of schemas are not followed'
    using detail = 'Tables made or altered from now on are not logged, and not published, by '
                   'themselves.',
          hint = 'Install again as a superuser (on a managed service, as its administrator), or '
                 'run after each change of a schema: select pgstream.reconcile();';
end
$$;
