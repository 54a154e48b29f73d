-- Whether changes of schemas are followed by event triggers, at once and in order, or found by
-- pgstream.reconcile(), when it is called.

create or replace function pgstream._create_event_triggers() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_event text;
begin
  foreach v_event in array array['ddl_command_end', 'sql_drop', 'table_rewrite'] loop
    continue when exists (
      select from pg_event_trigger where evtname = format('pgstream_%s', v_event)
    );
    execute format('create event trigger %I on %s execute function pgstream.%I()',
                   format('pgstream_%s', v_event), v_event, format('_on_%s', v_event));
    execute format('alter event trigger %I enable always', format('pgstream_%s', v_event));
  end loop;
end
$$;

comment on function pgstream._create_event_triggers is
  'Creates the event triggers that are missing. Fails with 42501 where the role may not.';

create or replace function pgstream.enable_ddl_capture()
  returns table (schema_name text, version bigint)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgstream._create_event_triggers();
  return query select * from pgstream.reconcile();
end
$$;

comment on function pgstream.enable_ddl_capture is
  'Follows changes of schemas by event triggers again, logs what was changed meanwhile, and '
  'returns the versions that it wrote. For roles that may create event triggers.';

create or replace function pgstream.disable_ddl_capture() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  drop event trigger if exists pgstream_ddl_command_end;
  drop event trigger if exists pgstream_sql_drop;
  drop event trigger if exists pgstream_table_rewrite;
end
$$;

comment on function pgstream.disable_ddl_capture is
  'Drops the event triggers, as some managed services ask for before a major upgrade. Installing '
  'again, or pgstream.enable_ddl_capture(), creates them.';

do $$
begin
  perform pgstream._create_event_triggers();
exception when insufficient_privilege then
  raise warning 'this role may not create event triggers: changes of schemas are not followed'
    using detail = 'Tables made or altered from now on are not logged, and not published, by '
                   'themselves.',
          hint = 'Install again as a superuser (on a managed service, as its administrator), or '
                 'run after each change of a schema: select pgstream.reconcile();';
end
$$;

do $$
begin
  perform pgstream._reconcile_log();
end
$$;
