-- Whether changes of schemas are followed by event triggers, at once and in order, or found by
-- pgstream.reconcile(), when it is called; and the upkeep, which stays on unless it is asked for.

create or replace function pgstream._create_event_triggers() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_trigger record;
begin
  for v_trigger in
    select t.*
    from (
      values ('pgstream_ddl_command_end', 'ddl_command_end', '_on_ddl_command_end'),
             ('pgstream_sql_drop', 'sql_drop', '_on_sql_drop'),
             ('pgstream_table_rewrite', 'table_rewrite', '_on_table_rewrite'),
             ('pgstream_upkeep', 'ddl_command_end', '_on_upkeep'),
             ('pgstream_upkeep_drop', 'sql_drop', '_on_upkeep')
    ) t(name, event, function)
    where not exists (select from pg_event_trigger e where e.evtname = t.name)
  loop
    execute format('create event trigger %I on %s execute function pgstream.%I()',
                   v_trigger.name, v_trigger.event, v_trigger.function);
    execute format('alter event trigger %I enable always', v_trigger.name);
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

create or replace function pgstream.disable_ddl_capture(upkeep boolean default false)
  returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  drop event trigger if exists pgstream_ddl_command_end;
  drop event trigger if exists pgstream_sql_drop;
  drop event trigger if exists pgstream_table_rewrite;
  if upkeep then
    drop event trigger if exists pgstream_upkeep;
    drop event trigger if exists pgstream_upkeep_drop;
    perform pgstream._reconcile_publications();
    perform pgstream._warn_of_upkeep();
  end if;
end
$$;

comment on function pgstream.disable_ddl_capture is
  'Drops the event triggers that follow changes of schemas, and with upkeep => true those, too, '
  'that keep updates of tables without a key from failing: some managed services ask for that '
  'before a major upgrade. Installing again, or pgstream.enable_ddl_capture(), creates them.';

create or replace function pgstream.set_updates_without_upkeep(mode text) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if mode is null or mode not in ('publish', 'skip') then
    raise exception 'updates without upkeep are published or skipped'
      using errcode = 'invalid_parameter_value',
            detail = format('mode: %s', coalesce(mode, 'null')),
            hint = 'select pgstream.set_updates_without_upkeep(''skip''); or ''publish''.';
  end if;
  insert into pgstream.publication_settings as s (updates_without_upkeep)
  values (mode)
  on conflict (only_row) do update set updates_without_upkeep = excluded.updates_without_upkeep;
  perform pgstream._reconcile_publications();
end
$$;

comment on function pgstream.set_updates_without_upkeep is
  'Where no event trigger takes a table that loses its replica identity out of the publication: '
  'publish (the default) sends updates, and those of such a table fail until pgstream.reconcile() '
  'is called; skip publishes no updates and deletes of any table.';

create or replace function pgstream._warn_of_upkeep() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_advice record;
begin
  select * into v_advice from pgstream._upkeep_advice();
  if v_advice.message is not null then
    raise warning '%', v_advice.message using detail = v_advice.detail, hint = v_advice.hint;
  end if;
end
$$;

comment on function pgstream._warn_of_upkeep is
  'Says what the lack of the upkeep means for the statements of others.';

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
  perform pgstream._warn_of_upkeep();
  perform pgstream._reconcile_log();
end
$$;
