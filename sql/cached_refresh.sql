create or replace function pgstream._follow_columns(cached pgstream.cached_tables)
  returns pgstream.cached_tables
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind constant text := replace(cached.mode, '_', ' ');
  v_new constant jsonb := pgstream._columns_of(cached.source);
  v_is_different boolean := false;
  v_column record;
  v_again text[];
begin
  if v_new = cached.columns then
    return cached;
  elsif v_new = '[]' then
    raise exception '% is gone', cached.source::text
      using errcode = 'undefined_table',
            hint = format('select pgstream.uncache_foreign_table(%L);', cached.target);
  end if;
  for v_column in
    with old as (
      select o.*, exists (
               select from jsonb_array_elements(v_new) n where n ->> 'name' = o.name) as is_kept
      from jsonb_to_recordset(cached.columns) o(number integer, name text, type text)
    ), new as (
      select n.*, coalesce(
               (select o.name from old o where o.name = n.name),
               (select o.name from old o where o.number = n.number and not o.is_kept)) as old_name
      from jsonb_to_recordset(v_new) n(number integer, name text, type text)
    )
    select o.name as old_name, o.type as old_type, n.name, n.type
    from old o
    full join new n on n.old_name = o.name
    order by n.name is not null, n.number
  loop
    if v_column.name is null then
      if cached.mode = 'table' then
        execute format('alter table %s drop column %I', cached.target, v_column.old_name);
      end if;
    elsif v_column.old_name is null then
      if cached.mode = 'table' then
        execute format('alter table %s add column %I %s', cached.target, v_column.name,
                       v_column.type);
      end if;
      cached.watermark_value := null; -- what the new column holds is known of no row
    else
      if v_column.old_name <> v_column.name then
        execute format('alter %s %s rename column %I to %I', v_kind, cached.target,
                       v_column.old_name, v_column.name);
        cached.key_columns := array_replace(cached.key_columns, v_column.old_name, v_column.name);
        cached.watermark := case cached.watermark when v_column.old_name then v_column.name
                                                  else cached.watermark end;
      end if;
      if v_column.old_type <> v_column.type and cached.mode = 'table' then
        v_again := pgstream._take_down(
          cached.target,
          (select a.attnum from pg_attribute a
           where a.attrelid = cached.target and a.attname = v_column.name));
        execute format('alter table %s alter column %I type %s using %2$I::text::%3$s',
                       cached.target, v_column.name, v_column.type);
        perform pgstream._run_all(v_again);
      end if;
    end if;
  end loop;
  cached.columns := v_new;
  update pgstream.cached_tables c
  set columns = cached.columns, key_columns = cached.key_columns, watermark = cached.watermark,
      watermark_value = cached.watermark_value
  where c.target = cached.target;
  if cached.mode = 'materialized_view'
    and (select jsonb_agg(c - 'number') from jsonb_array_elements(v_new) c)
        <> (select jsonb_agg(c - 'number')
            from jsonb_array_elements(pgstream._columns_of(cached.target)) c) then
    cached.target := pgstream._rebuild(cached.target);
  end if;
  return cached;
end
$$;

comment on function pgstream._follow_columns is
  'Gives a copy the columns that its source has now; a column that is gone is dropped, which fails '
  'where something needs it.';

create or replace function pgstream._rebuild(target regclass) returns regclass
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := target;
  v_obstacles constant text := (select string_agg(o, ', ') from pgstream._obstacles(target) o);
  v_itself constant text[] := array(select * from pgstream._definition(target, true));
  v_others text[];
begin
  if v_obstacles is not null then
    raise exception '% cannot get the columns that its source has now', v_name
      using errcode = 'dependent_objects_still_exist',
            detail = format('Needed by: %s.', v_obstacles),
            hint = 'Drop these, or make them views.';
  end if;
  v_others := pgstream._take_down(target);
  execute format('drop materialized view %s', v_name);
  perform pgstream._run_all(v_itself || v_others);
  return v_name::regclass;
end
$$;

comment on function pgstream._rebuild is
  'Makes the materialized view that caches a foreign table anew, with the views on it.';

create or replace function pgstream._newest(cached pgstream.cached_tables, since_last boolean)
  returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest text;
begin
  execute format('select max(%I)::text from %s', cached.watermark, cached.target) into v_newest;
  return case when since_last then coalesce(v_newest, cached.watermark_value) else v_newest end;
end
$$;

comment on function pgstream._newest is
  'The greatest watermark in a copy. since_last: or that of before, where no row is left.';

create or replace function pgstream._merge(cached pgstream.cached_tables, since text)
  returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_c record;
  v_condition text := 'true';
  v_rows bigint;
  v_changed bigint := 0;
begin
  select string_agg(format('(%I)::%s as %1$I', c.name, c.type), ', ') as read,
         string_agg(format('%I', c.name), ', ') as names,
         string_agg(format('s.%I', c.name), ', ') as new,
         string_agg(format('t.%I', c.name), ', ') as old,
         string_agg(format('d.%I', c.name), ', ') as found,
         string_agg(case when k.is_key then format('coalesce(s.%1$I, t.%1$I) as %1$I', c.name)
                         else format('s.%I', c.name) end, ', ') as kept,
         string_agg(format('t.%1$I = s.%1$I', c.name), ' and ') filter (where k.is_key) as same,
         string_agg(format('t.%1$I = d.%1$I', c.name), ' and ') filter (where k.is_key) as same_row,
         max(c.type) filter (where c.name = cached.watermark) as watermark_type
  into v_c
  from jsonb_to_recordset(cached.columns) c(name text, type text)
  cross join lateral (select c.name = any (cached.key_columns) as is_key) k;
  if since is not null then
    -- what was written before, and committed after the last refresh, is younger than five minutes
    v_condition := format(
      '(%1$I >= %2$s or %1$I is null)', cached.watermark,
      case when v_c.watermark_type ^@ 'timestamp'
        then format('%L::%s', since::timestamptz - interval '5 min', v_c.watermark_type)
        else format('%L::%s', since, v_c.watermark_type) end);
  end if;

  if to_regclass('pg_temp.pgstream_difference') is not null then
    drop table pg_temp.pgstream_difference; -- of another copy in this transaction
  end if;
  execute format(
    'create temporary table pgstream_difference on commit drop as
     select %1$s, case when t.%2$I is null then ''insert'' when s.%2$I is null then ''delete''
                       else ''update'' end as "pgstream.action"
     from (select %3$s from %4$s where %5$s) s
     %6$s join %7$s t on %8$s
     where t.%2$I is null or s.%2$I is null or row(%9$s)::record *<> row(%10$s)::record',
    v_c.kept, cached.key_columns[1], v_c.read, cached.source, v_condition,
    case when since is null then 'full' else 'left' end, cached.target, v_c.same, v_c.new, v_c.old);
  execute format(
    'delete from %s t using pg_temp.pgstream_difference d
     where d."pgstream.action" = ''delete'' and %s', cached.target, v_c.same_row);
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  execute format(
    'update %s t set (%s) = row(%s) from pg_temp.pgstream_difference d
     where d."pgstream.action" = ''update'' and %s', cached.target, v_c.names, v_c.found,
    v_c.same_row);
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  execute format(
    'insert into %s (%s) select %2$s from pg_temp.pgstream_difference d
     where d."pgstream.action" = ''insert''', cached.target, v_c.names);
  get diagnostics v_rows = row_count;
  drop table pg_temp.pgstream_difference;
  return v_changed + v_rows;
end
$$;

comment on function pgstream._merge is
  'Makes a copy what its source is, and writes only what differs; returns how many rows that were. '
  'since: reads only rows with this watermark or a greater one, and deletes none.';

create or replace function pgstream._refresh(target regclass) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_cached pgstream.cached_tables;
  v_begin constant timestamptz := clock_timestamp();
  v_since text;
  v_changed bigint;
begin
  select c.* into v_cached from pgstream.cached_tables c where c.target = _refresh.target;
  v_cached := pgstream._follow_columns(v_cached);
  if v_cached.mode = 'materialized_view' then
    execute format('refresh materialized view concurrently %s', v_cached.target);
  else
    if v_cached.compared_at > v_begin - interval '1 day' then
      v_since := v_cached.watermark_value;
    end if;
    v_changed := pgstream._merge(v_cached, v_since);
    if v_cached.watermark is not null then
      v_cached.watermark_value := pgstream._newest(v_cached, v_since is not null);
    end if;
  end if;
  update pgstream.cached_tables c
  set refreshed_at = v_begin, duration = clock_timestamp() - v_begin, rows_changed = v_changed,
      compared_at = case when v_since is null then v_begin else c.compared_at end,
      watermark_value = v_cached.watermark_value, failures = 0, last_error = null,
      last_error_at = null,
      next_refresh_at = case when c.refresh_every is not null
        then greatest(v_begin + c.refresh_every, clock_timestamp()) end
  where c.target = v_cached.target;
  return v_changed;
end
$$;

comment on function pgstream._refresh is
  'Refreshes one cached table, which is locked, and notes it.';

create or replace function pgstream._note_failure(target regclass, problem text) returns void
  language sql volatile parallel unsafe
begin atomic
  update pgstream.cached_tables c
  set failures = c.failures + 1, last_error = problem, last_error_at = clock_timestamp(),
      next_refresh_at = case when c.refresh_every is not null then clock_timestamp() + least(
        c.refresh_every * power(2, least(c.failures, 20)),
        greatest(c.refresh_every, interval '1 h')) end
  where c.target = _note_failure.target;
end;

comment on function pgstream._note_failure is
  'Notes that a refresh has failed; the pause until the next one doubles each time.';

create or replace function pgstream.refresh_cached_table(target regclass) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform from pgstream.cached_tables c where c.target = refresh_cached_table.target for update;
  if not found then
    raise exception '% caches no foreign table', target
      using errcode = 'undefined_object',
            hint = 'select target from pgstream.cached_status;';
  end if;
  return pgstream._refresh(target);
end
$$;

comment on function pgstream.refresh_cached_table is
  'Refreshes a cached table now; returns how many rows were written, null for a materialized view.';

create or replace function pgstream._claim_due(force boolean, done regclass[])
  returns table (target regclass, server_name text)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_first record;
begin
  delete from pgstream.cached_tables c
  where not exists (select from pg_class r where r.oid = c.target);
  select c.target, f.server_name into v_first
  from pgstream.cached_tables c
  left join pgstream.foreign_tables f on f.relation = c.source
  where (force or c.next_refresh_at <= clock_timestamp()) and c.target <> all (done)
  order by c.next_refresh_at, c.target
  limit 1
  for update of c skip locked;
  return query
    select c.target, f.server_name
    from pgstream.cached_tables c
    left join pgstream.foreign_tables f on f.relation = c.source
    where (force or c.next_refresh_at <= clock_timestamp()) and c.target <> all (done)
      and (c.target = v_first.target or f.server_name = v_first.server_name)
    order by c.target
    for update of c skip locked;
end
$$;

comment on function pgstream._claim_due is
  'Locks the cached tables of one foreign server that are due and that nobody refreshes already. '
  'done: not these.';

create or replace function pgstream._refresh_together(targets regclass[], out drifted regclass[])
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_target regclass;
  v_away text;
begin
  drifted := '{}';
  -- just found out, when it was to be brought in step
  select d.last_error into v_away
  from pgstream.cached_tables c
  join pgstream.foreign_tables f on f.relation = c.source
  join pgstream.foreign_databases d on d.server_name = f.server_name
  where c.target = targets[1] and d.last_error ^@ '08' and d.last_error_at >= now();
  foreach v_target in array targets loop
    if v_away is not null then
      perform pgstream._note_failure(v_target, v_away);
      continue;
    end if;
    begin
      perform pgstream._refresh(v_target);
    exception when others then
      perform pgstream._note_failure(v_target, concat_ws(' ', sqlstate, sqlerrm));
      -- the others would wait for the same connection in vain
      if sqlstate ^@ '08' then
        v_away := concat_ws(' ', sqlstate, sqlerrm);
        update pgstream.foreign_databases d
        set last_error = v_away, last_error_at = clock_timestamp()
        from pgstream.foreign_tables f, pgstream.cached_tables c
        where f.server_name = d.server_name and f.relation = c.source and c.target = v_target;
      elsif sqlstate in ('42703', '42P01', '42704', '42804', '42883', '22P02', '22P03') then
        drifted := drifted || v_target;
      end if;
    end;
  end loop;
end
$$;

comment on function pgstream._refresh_together is
  'Refreshes cached tables of one foreign server, as of one moment there; returns those that '
  'failed as they do when the foreign table is not what its table is.';

create or replace function pgstream._keep_in_step(server_name text, must boolean) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_database pgstream.foreign_databases;
begin
  select d.* into v_database
  from pgstream.foreign_databases d
  where d.server_name = _keep_in_step.server_name;
  if not found then
    return false;
  end if;
  begin
    if not must and v_database.last_error is null
      and v_database.synced_at > clock_timestamp() - interval '5 min' then
      if v_database.remote_version is null then
        return false;
      end if;
      perform pgstream._open_catalogs(server_name);
      must := pgstream._remote_version(server_name) is distinct from v_database.remote_version;
      perform pgstream._close_catalogs();
      if not must then
        return false;
      end if;
    end if;
    perform pgstream._sync(pgstream._foreign_database(server_name));
  exception when others then
    update pgstream.foreign_databases d
    set last_error = concat_ws(' ', sqlstate, sqlerrm), last_error_at = clock_timestamp()
    where d.server_name = _keep_in_step.server_name;
    return false;
  end;
  return true;
end
$$;

comment on function pgstream._keep_in_step is
  'Syncs a foreign database whose schema log has moved, or that was not looked at for five '
  'minutes. must: in any case. Failures are noted in pgstream.foreign_status.';

create or replace procedure pgstream.refresh_due(force boolean default false)
  language plpgsql
as $$
declare
  v_done regclass[] := '{}';
  v_targets regclass[];
  v_server text;
begin
  loop
    select pg_catalog.array_agg(c.target), pg_catalog.min(c.server_name) into v_targets, v_server
    from pgstream._claim_due(force, v_done) c;
    exit when v_targets is null;
    v_done := v_done operator(pg_catalog.||) v_targets;
    if pgstream._keep_in_step(v_server, false) then
      commit; -- a label that was added can be used from then on
      v_targets := pgstream._claim_again(v_targets);
    end if;
    v_targets := pgstream._refresh_together(v_targets);
    commit;
    if pg_catalog.cardinality(v_targets) operator(pg_catalog.>) 0
      and pgstream._keep_in_step(v_server, true) then
      commit;
      perform pgstream._refresh_together(pgstream._claim_again(v_targets));
    end if;
    commit;
  end loop;
end
$$;

comment on procedure pgstream.refresh_due is
  'Refreshes the cached tables that are due, and commits after those of each foreign server, '
  'which are as of one moment there. pgstream run calls it; so can pg_cron, and both at once. '
  'force: all of them. Errors are noted in pgstream.cached_status, and old contents stay.';

create or replace function pgstream._claim_again(targets regclass[]) returns regclass[]
  language sql volatile parallel unsafe
begin atomic
  with claimed as (
    select c.target
    from pgstream.cached_tables c
    where c.target = any (targets)
    order by c.target
    for update skip locked
  )
  select coalesce(array_agg(c.target), '{}') from claimed c;
end;

comment on function pgstream._claim_again is
  'Locks these cached tables once more, after a commit; returns those that are not taken.';
