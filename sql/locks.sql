-- A lock that a user's own DDL waits for in the lock manager can make that user the victim of a
-- deadlock. So locks are polled, and given up after pgstream.lock_timeout (default 1 s).

create or replace function pgstream._lock_deadline() returns timestamptz
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting constant text := nullif(current_setting('pgstream.lock_timeout', true), '');
begin
  return clock_timestamp() + coalesce(v_setting, '1s')::interval;
exception when invalid_datetime_format or datetime_field_overflow then
  raise warning 'pgstream.lock_timeout is "%", which is no interval; using 1s', v_setting;
  return clock_timestamp() + '1s';
end
$$;

comment on function pgstream._lock_deadline is
  'The moment until which a lock that starts to be polled now may be polled.';

create or replace function pgstream._try_lock(
  what text, shared boolean default false, deadline timestamptz default null
) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_deadline constant timestamptz := coalesce(deadline, pgstream._lock_deadline());
  v_key constant bigint := hashtextextended(format('pgstream.%s', what), 0);
begin
  loop
    if shared then
      exit when pg_try_advisory_xact_lock_shared(v_key);
    else
      exit when pg_try_advisory_xact_lock(v_key);
    end if;
    if clock_timestamp() >= v_deadline then
      return false;
    end if;
    perform pg_sleep(0.005);
  end loop;
  return true;
end
$$;

comment on function pgstream._try_lock is
  'Takes the named advisory lock to the end of the transaction; false when it was not to be had '
  'before the deadline, by default within pgstream.lock_timeout.';

create or replace function pgstream._try_lock_table(
  rel regclass, lock_mode text, queue boolean, deadline timestamptz
) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_usual constant text := current_setting('lock_timeout');
begin
  loop
    begin
      if queue and not exists (
        select from pg_locks l
        where not l.granted and pg_backend_pid() = any (pg_blocking_pids(l.pid))
      ) then
        perform set_config('lock_timeout', '100ms', true);
        execute format('lock table %s in %s mode', rel, lock_mode);
        perform set_config('lock_timeout', v_usual, true);
      else
        execute format('lock table %s in %s mode nowait', rel, lock_mode);
      end if;
      return true;
    exception when lock_not_available then
      if clock_timestamp() >= deadline then
        return false;
      end if;
    end;
    perform pg_sleep(0.005);
  end loop;
end
$$;

comment on function pgstream._try_lock_table is
  'Takes a lock on a table and its partitions to the end of the transaction; false when it was '
  'not to be had before the deadline. queue: stand in the line of the lock manager, for 100 ms at '
  'a time, since a table that is written all the time has no moment without a writer; not while '
  'somebody waits for a lock of ours, who could become the victim of a deadlock.';
