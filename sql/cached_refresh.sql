-- When a copy is refreshed, and what is noted of it.

create or replace function pgstream._refresh(target regclass) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_cached pgstream.cached_tables;
  v_begin constant timestamptz := clock_timestamp();
  v_since text;
  v_merged record;
  v_present text[];
  v_changed bigint;
begin
  select c.* into v_cached from pgstream.cached_tables c where c.target = _refresh.target;
  perform pgstream._check_readable(v_cached);
  v_cached := pgstream._follow_columns(v_cached);
  if v_cached.mode = 'materialized_view' then
    -- Postgres does it with the rights of the owner
    v_present := pgstream._temporary_objects();
    perform pgstream._execute(
      array[format('refresh materialized view concurrently %s', v_cached.target)]);
    perform pgstream._check_left_behind(v_present, pgstream._owner_of(v_cached.target),
                                        v_cached.target::text);
  else
    if v_cached.compared_at > v_begin - interval '1 day' then
      v_since := v_cached.watermark_value;
    end if;
    select * into v_merged from pgstream._merge_rows(v_cached, v_since);
    v_changed := v_merged.changed;
    v_cached.watermark_value := coalesce(v_merged.newest, v_since);
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
  v_constraint text;
  v_column text;
  v_problem text;
begin
  drifted := '{}';
  -- just found out, when it was to be brought in step
  select d.last_error into v_away
  from pgstream.cached_tables c
  join pgstream.foreign_tables f on f.relation = c.source
  join pgstream.foreign_databases d on d.server_name = f.server_name
  where c.target = targets[1] and d.last_error ^@ '08' and d.last_error_at >= now();
  -- first those whose code is confined: it could have what waits for the commit run early
  for v_target in
    select t from unnest(targets) t order by pgstream._could_become_us(pgstream._owner_of(t)), t
  loop
    if v_away is not null then
      perform pgstream._note_failure(v_target, v_away);
      continue;
    end if;
    begin
      perform pgstream._refresh(v_target);
    exception when others then
      get stacked diagnostics v_constraint = constraint_name, v_column = column_name;
      v_problem := pgstream._error_text(sqlstate, sqlerrm, v_constraint, v_column);
      perform pgstream._note_failure(v_target, v_problem);
      -- the others would wait for the same connection in vain
      if sqlstate ^@ '08' then
        v_away := v_problem;
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
  v_version bigint;
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
      perform pgstream._close_catalogs();
      v_version := pgstream._count_versions(server_name);
      perform pgstream._close_catalogs();
      if v_version = v_database.remote_version then
        return false;
      end if;
    end if;
    if not pgstream._try_lock(format('foreign.%s', server_name)) then
      return false; -- another session brings it in step
    end if;
    perform pgstream._sync(pgstream._foreign_database(server_name));
  exception when others then
    update pgstream.foreign_databases d
    set last_error = pgstream._error_text(sqlstate, sqlerrm), last_error_at = clock_timestamp()
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
