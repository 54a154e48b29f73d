-- Nothing here may make a user's statement fail or wait: what goes wrong is caught, recorded in
-- pgstream.ddl_error and raised as a warning. All that one statement waits for together, in
-- whichever of the event triggers, ends at one deadline, that of pgstream._ddl_deadline(), which is
-- bounded by pgstream.lock_timeout and a share of the limits of the session; a transaction that has
-- waited in vain does not wait again. No table is read whose lock has not been tried first, and
-- none that a subscriber may lock: what statements of others need of the subscriptions stands in
-- pgstream.subscription_targets. Nothing is left that keeps a transaction from being prepared. Our
-- own changes of replica identities are not followed.
--
-- A statement that drops fires sql_drop first, which alone may ask what is gone, then
-- ddl_command_end, which alone has the last word on the catalogs. The former leaves what it has
-- learned in the setting pgstream.dropped, which ends with the transaction and goes back with a
-- savepoint; the latter logs once for both. Whoever sets it by hand has objects compared in vain.

create or replace function pgstream._record_ddl_error(
  command_tag text, schemas text[], error_state text, message text
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  begin
    lock table pgstream.ddl_error in row exclusive mode nowait;
    insert into pgstream.ddl_error (command_tag, schema_name, sqlstate, message)
    select command_tag, s, error_state, message
    from unnest(coalesce(schemas, array[null::text])) s;
  exception when others then
    raise warning 'pgstream cannot write pgstream.ddl_error: %', sqlerrm;
  end;
  raise warning 'pgstream could not follow %: %', command_tag, message
    using detail = 'The statement itself is not affected.',
          hint = 'select pgstream.reconcile();';
end
$$;

comment on function pgstream._record_ddl_error is
  'Writes a row of pgstream.ddl_error for each schema, from which the runner learns of it, and '
  'raises a warning.';

create or replace function pgstream._log_is_skipped() returns boolean
  language sql stable parallel safe
  return lower(coalesce(current_setting('pgstream.skip_log', true), ''))
         in ('on', 'true', 'yes', '1');

comment on function pgstream._log_is_skipped is
  'Whether the session has set pgstream.skip_log, so that its DDL is not logged.';

create or replace function pgstream._try_log(
  command_tag text, class_ids oid[], object_ids oid[], altered boolean[], dropped jsonb,
  deadline timestamptz
) returns oid[]
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_named constant text[] := array(
    select n.nspname from pg_namespace n
    where n.oid = any (object_ids) and 'pg_namespace'::regclass = any (class_ids)
  ) || array(
    select jsonb_array_elements_text(dropped -> 'schemas'));
  v_oids oid[];
  v_keys text[];
  v_schemas text[];
  v_locked text[];
begin
  loop
    v_oids := pgstream._touched_oids(class_ids, object_ids, altered, dropped);
    v_keys := pgstream._keys(v_oids);
    v_schemas := array(
      select distinct s.name
      from unnest(v_named || pgstream._touched_schemas(v_oids, v_keys)
                  || case when 'pg_namespace'::regclass = any (class_ids)
                       then pgstream._lost_schemas() end) s(name)
      where not pgstream.is_system_schema(s.name)
      order by s.name);
    exit when v_schemas <@ v_locked;
    if v_schemas = '{}' then
      return v_oids;
    end if;
    -- Whoever held a lock may have changed what is touched.
    perform pgstream._lock_schemas(v_schemas, deadline);
    v_locked := v_schemas;
  end loop;
  perform pgstream._assign_ids(v_oids);
  perform pgstream._log_schema(s, v_oids, v_keys) from unnest(v_schemas) s;
  return v_oids;
exception when others then
  if sqlstate = '55P03' then
    perform set_config('pgstream.gave_up', 'on', true);
  end if;
  perform pgstream._record_ddl_error(
    command_tag, nullif(coalesce(v_schemas, v_named), '{}'), sqlstate, sqlerrm);
  return null;
end
$$;

comment on function pgstream._try_log is
  'Logs what a statement has changed, in all the schemas that it touches or in none, and returns '
  'the oids of what it may have changed. What goes wrong becomes rows of pgstream.ddl_error and a '
  'warning, never an error of the statement; it returns null then.';

create or replace function pgstream._lost_schemas() returns text[]
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select array_agg(l.schema_name)
  from (select distinct g.schema_name from pgstream.schema_log g) l
  where not exists (select from pg_namespace n where n.nspname = l.schema_name)
    and not pgstream._is_logged_as_dropped(l.schema_name)
$$;

comment on function pgstream._lost_schemas is
  'Schemas that the log believes to be there and that are not, because they have been renamed.';

create or replace function pgstream._ddl_deadline() returns timestamptz
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_client constant text := extract(epoch from statement_timestamp());
  v_noted constant text[] := regexp_match(
    current_setting('pgstream.deadline', true),
    '^([0-9]{1,10}[.][0-9]{6}) ([0-9]{1,10}[.][0-9]{6})$');
  v_longest timestamptz;
begin
  if current_setting('pgstream.gave_up', true) = 'on' then
    return clock_timestamp();
  end if;
  v_longest := pgstream._lock_deadline();
  if v_noted[1] = v_client then
    return least(to_timestamp(v_noted[2]::double precision), v_longest);
  end if;
  perform set_config(
    'pgstream.deadline', format('%s %s', v_client, extract(epoch from v_longest)), true);
  return v_longest;
end
$$;

comment on function pgstream._ddl_deadline is
  'The moment until which a statement of DDL may poll locks of ours: the same for all of its event '
  'triggers, until pgstream._end_ddl_deadline(), and now, where its transaction has waited in vain '
  'already.';

create or replace function pgstream._end_ddl_deadline() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('pgstream.deadline', true) <> '' then
    perform set_config('pgstream.deadline', '', true);
  end if;
end
$$;

comment on function pgstream._end_ddl_deadline is
  'For the last event trigger of a statement: the next one has a deadline of its own, also in one '
  'message of the client or in one function.';

create or replace function pgstream._try_sync_publications(
  command_tag text, touched oid[], deadline timestamptz
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if not pgstream._try_lock('membership', shared => true, deadline => deadline) then
    perform pgstream._refuse_locked('the set of subscriptions and tables is');
  end if;
  perform pgstream._sync_publications(
    queue => false,
    among => case when touched is not null then touched || array(
      select a.relid
      from unnest(touched) t(oid)
      cross join pg_partition_ancestors(t.oid) a(relid)) end,
    deadline => deadline);
exception when others then
  if sqlstate = '55P03' then
    perform set_config('pgstream.gave_up', 'on', true);
  end if;
  perform pgstream._record_ddl_error(command_tag, null, sqlstate, sqlerrm);
end
$$;

comment on function pgstream._try_sync_publications is
  'Brings the publications in step, for the touched tables and the roots of partitions among '
  'them, or all where that is null; what goes wrong becomes a row of pgstream.ddl_error.';

create or replace function pgstream._on_sql_drop() returns event_trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: the user who runs DDL has no rights on schema pgstream
  set search_path = pg_catalog, pg_temp
  -- else an error that is caught would end the session
  set exit_on_error = off
  set jit = off
as $$
declare
  v_dropped jsonb;
begin
  v_dropped := pgstream._dropped_objects();
  if v_dropped is not null then
    perform set_config('pgstream.dropped', v_dropped::text, true);
  end if;
exception when others then
  perform pgstream._record_ddl_error(tg_tag, null, sqlstate, sqlerrm);
end
$$;

comment on function pgstream._on_sql_drop is
  'Event trigger: notes what a statement has dropped, for _on_ddl_command_end.';

create or replace function pgstream._on_ddl_command_end() returns event_trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: the user who runs DDL has no rights on schema pgstream
  set search_path = pg_catalog, pg_temp
  -- else an error that is caught would end the session
  set exit_on_error = off
  set jit = off
as $$
declare
  v_setting constant text := nullif(current_setting('pgstream.dropped', true), '');
  v_isolation constant text := current_setting('transaction_isolation');
  v_deadline timestamptz;
  v_classes oid[];
  v_objects oid[];
  v_altered boolean[];
  v_schemas text[];
  v_publishes boolean;
  v_touched oid[];
begin
  select array_agg(d.classid), array_agg(d.objid), array_agg(d.command_tag ^@ 'ALTER'),
         array_agg(distinct d.schema_name), bool_or(d.object_type in ('table', 'schema'))
  into v_classes, v_objects, v_altered, v_schemas, v_publishes
  from pg_event_trigger_ddl_commands() d
  where not d.in_extension
    and d.classid in ('pg_class'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass,
                      'pg_constraint'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass,
                      'pg_collation'::regclass)
    -- frequent, and nothing that anybody's description says
    and d.command_tag not in ('CREATE FUNCTION', 'REFRESH MATERIALIZED VIEW', 'REINDEX')
    -- pg_temp is one
    and not coalesce(pgstream.is_system_schema(d.schema_name), false);
  if v_classes is null and v_setting is null or pgstream._is_own_change(v_objects) then
    return;
  end if;

  begin
    perform set_config('pgstream.dropped', '', true);
    v_deadline := pgstream._ddl_deadline();
    if not pgstream._try_lock_ours(v_deadline) then
      perform set_config('pgstream.gave_up', 'on', true);
      perform pgstream._record_ddl_error(
        tg_tag, v_schemas, '55P03', 'tables of schema pgstream are locked by another transaction');
      return;
    elsif pgstream._log_is_skipped() then
      if v_isolation <> 'serializable' then
        v_touched := pgstream._touched_oids(v_classes, v_objects, v_altered, v_setting::jsonb);
      end if;
    elsif v_isolation in ('repeatable read', 'serializable') then
      insert into pgstream.ddl_error (command_tag, schema_name, sqlstate, message)
      select tg_tag, s.name, '01000', format('the transaction is %s', v_isolation)
      from (
        select unnest(v_schemas)
        union
        select jsonb_array_elements_text(v_setting::jsonb -> 'within')
      ) s(name);
    else
      v_touched := pgstream._try_log(
        tg_tag, v_classes, v_objects, v_altered, v_setting::jsonb, v_deadline);
    end if;
    -- A partition that is gone may not tell whose it was.
    if (v_setting::jsonb ->> 'of_tables')::boolean then
      v_touched := v_touched || array(select p.partrelid from pg_partitioned_table p);
    end if;
  exception when others then
    perform pgstream._record_ddl_error(tg_tag, null, sqlstate, sqlerrm);
  end;
  if v_publishes or v_setting is not null then
    perform pgstream._try_sync_publications(tg_tag, v_touched, v_deadline);
  end if;
  if v_isolation in ('read committed', 'read uncommitted') then
    begin
      perform pgstream._recheck_programs(v_touched, v_deadline);
    exception when others then
      perform pgstream._record_ddl_error(tg_tag, null, sqlstate, sqlerrm);
    end;
  end if;
end
$$;

comment on function pgstream._on_ddl_command_end is
  'Event trigger: logs what a statement has changed, and publishes the tables that subscriptions '
  'want. Reading the log could make a SERIALIZABLE transaction fail, and a REPEATABLE READ one may '
  'not see its present: after these, reconcile.';
