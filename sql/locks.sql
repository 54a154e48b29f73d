-- Locks that are taken inside statements of users. What holds for each:
--
--   1. Nobody without rights on our tables can hold one: it is a row of pgstream.locks, on which
--      nothing is granted. (An advisory lock is anybody's, and pg_locks shows its key.)
--   2. None is waited for in the lock manager, where a wait can make the user the victim of a
--      deadlock: it is tried, and tried again, until a deadline.
--   3. The deadline leaves the user most of the time that a limit of the session allows, so that
--      no statement fails at its limit because of us.
--   4. A table of ours is read or written only under a lock that was got in the same way: whoever
--      may lock it holds up no statement of others beyond the deadline.
--
-- Row locks end with their transaction, also with one that is prepared, and go back with a
-- savepoint. A row that is only ever locked fails no SERIALIZABLE transaction.

create or replace function pgstream._lock_deadline() returns timestamptz
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting constant text := nullif(current_setting('pgstream.lock_timeout', true), '');
  v_now constant timestamptz := clock_timestamp();
  v_longest interval := '1s';
begin
  begin
    v_longest := coalesce(v_setting::interval, v_longest);
  exception when data_exception then
    raise warning 'pgstream.lock_timeout is "%", which is no interval; using 1s', v_setting;
  end;
  return v_now + least(v_longest, (
    -- a quarter of what is left
    select min((l.setting::interval - (v_now - l.since)) / 4)
    from (
      values (current_setting('statement_timeout'), statement_timestamp()),
             -- from 17 on
             (current_setting('transaction_timeout', true), transaction_timestamp()),
             (current_setting('lock_timeout'), v_now)
    ) l(setting, since)
    where l.setting <> '0'));
end
$$;

comment on function pgstream._lock_deadline is
  'The moment until which a lock that starts to be polled now may be polled: '
  'pgstream.lock_timeout from now, and no more than a quarter of what is left by '
  'statement_timeout, transaction_timeout and lock_timeout, where these are set.';

create or replace function pgstream._try_lock_table(
  rel regclass, lock_mode text, queue boolean, deadline timestamptz,
  partitions boolean default true
) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_usual constant text := current_setting('lock_timeout');
  v_lock constant text := format(
    'lock table %s%s in %s mode', case when not partitions then 'only ' end, rel, lock_mode);
begin
  loop
    begin
      if queue and not exists (
        select from pg_locks l
        where not l.granted and pg_backend_pid() = any (pg_blocking_pids(l.pid))
      ) then
        perform set_config('lock_timeout', '100ms', true);
        execute v_lock;
        perform set_config('lock_timeout', v_usual, true);
      else
        execute format('%s nowait', v_lock);
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
  'Takes a lock on a table, with or without its partitions, to the end of the transaction; false '
  'when it was not to be had before the deadline. queue: stand in the line of the lock manager, '
  'for 100 ms at a time, since a table that is written all the time has no moment without a '
  'writer; not while somebody waits for a lock of ours, who could become the victim of a deadlock.';

create or replace function pgstream._try_lock_ours(deadline timestamptz) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  loop
    begin
      lock table pgstream.locks, pgstream.subscription_targets, pgstream.lent_identities,
        pgstream.publication_settings in row share mode nowait;
      lock table pgstream.schema_log, pgstream.schema_objects, pgstream.table_ids,
        pgstream.schema_state, pgstream.ddl_error in row exclusive mode nowait;
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

comment on function pgstream._try_lock_ours is
  'Takes the locks for reading and writing all of ours that a statement of DDL needs; false when '
  'they were not to be had before the deadline.';

create or replace function pgstream._try_lock_subscriptions(deadline timestamptz) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  loop
    begin
      lock table pgstream.webhook_subscriptions, pgstream.subscription_changes,
        pgstream.subscription_secrets, pgstream.subscription_targets
        in row exclusive mode nowait;
      lock table pgstream.transforms, pgstream.row_security_exemptions
        in access share mode nowait;
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

comment on function pgstream._try_lock_subscriptions is
  'Takes the locks for all of ours that a change of a subscription reads and writes, where a '
  'statement of DDL makes it; false when they were not to be had before the deadline.';

create or replace function pgstream._refuse_locked_tables() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'tables of schema pgstream are locked by another transaction'
    using errcode = 'lock_not_available',
          detail = 'Somebody upgrades pgstream, or maintains its tables.',
          hint = 'When that has ended: select pgstream.reconcile();';
end
$$;

comment on function pgstream._refuse_locked_tables is
  'Raises 55P03 with the way out, after pgstream._try_lock_ours().';

create or replace function pgstream._lock_id(what text) returns smallint
  language sql immutable strict parallel safe
  return case what
    when 'membership' then 1
    when 'publications' then 2
    when 'adopt' then 3
    when 'reconcile' then 4
    else case when what ^@ 'schema_log.' then 16 + (hashtextextended(what, 0) & 1023)
           else 1040 + (hashtextextended(what, 0) & 127) end
  end::smallint;

comment on function pgstream._lock_id is
  'The row of pgstream.locks for a name. Names without a row of their own may share one, but none '
  'with the schema logs, which each statement of DDL asks for.';

create or replace function pgstream._try_lock(
  what text, shared boolean default false, deadline timestamptz default null
) returns boolean
  language plpgsql volatile parallel unsafe security definer
  -- definer: nobody else may lock the rows
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_deadline constant timestamptz := coalesce(deadline, pgstream._lock_deadline());
  v_id constant smallint := pgstream._lock_id(what);
begin
  if not pgstream._try_lock_table('pgstream.locks', 'row share', false, v_deadline) then
    return false;
  end if;
  loop
    if shared then
      perform from pgstream.locks l where l.id = v_id for share skip locked;
    else
      perform from pgstream.locks l where l.id = v_id for update skip locked;
    end if;
    if found then
      return true;
    elsif not exists (select from pgstream.locks l where l.id = v_id) then
      -- A dump without data has no rows until pgstream is installed again.
      return pgstream._try_lock_table('pgstream.locks', 'exclusive', false, v_deadline);
    elsif clock_timestamp() >= v_deadline then
      return false;
    end if;
    perform pg_sleep(0.005);
  end loop;
end
$$;

comment on function pgstream._try_lock is
  'Takes the named lock of ours to the end of the transaction; false when it was not to be had '
  'before the deadline, by default that of pgstream._lock_deadline().';

insert into pgstream.locks (id)
select i
from generate_series(1, 1040 + 127) i
on conflict do nothing;
