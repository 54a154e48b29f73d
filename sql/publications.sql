-- What the slot decodes. Three publications, so that no statement of a user can fail because of us:
--
--   pgstream_control  inserts of pgstream.schema_log, subscription_changes, ddl_error,
--                     table_rewrites, emitted_events and snapshot_marks
--   pgstream_insert   inserts and truncates of the tables that a subscription wants them of
--   pgstream_update   updates and deletes, only of tables with a usable replica identity: Postgres
--                     refuses a user's UPDATE or DELETE of any other published table (55000)
--
-- A publication must be older than the slot that reads it and is never dropped while one does:
-- decoding looks it up as of the change's place in the log.
--
-- Transactions that change subscriptions and transactions that make tables do not see each other
-- before they commit. So the former hold the lock "membership", and the latter a share of it.
--
-- Membership is judged where a change was written, not where it was committed. So a table is added
-- under a lock that its writers conflict with, held until the adding transaction commits: whatever
-- commits afterwards was written afterwards, and is decoded whole.

create or replace function pgstream._alter_publication(
  publication name, action text, rel regclass
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set lock_timeout = '5ms'
as $$
begin
  execute format('alter publication %I %s table only %s', publication, action, rel);
end
$$;

comment on function pgstream._alter_publication is
  'Adds a table to a publication, or drops it from there. Fails with 55P03 rather than wait.';

create or replace function pgstream._is_altered_elsewhere(publication name) returns boolean
  language sql stable strict parallel safe
begin atomic
  select exists (
    select from pg_locks l
    where l.locktype = 'object' and l.classid = 'pg_publication'::regclass
      and l.objid = (select p.oid from pg_publication p where p.pubname = publication)
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and l.pid is distinct from pg_backend_pid());
end;

comment on function pgstream._is_altered_elsewhere is
  'Whether somebody else has locked the publication, as ALTER PUBLICATION does from 15 on.';

create or replace function pgstream._try_alter_publication(
  publication name, action text, rel regclass, deadline timestamptz
) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if not pgstream._try_lock('publications', deadline => deadline) then
    return false;
  end if;
  loop
    begin
      -- An administrator may alter it by hand, which our lock does not keep out.
      if not pgstream._is_altered_elsewhere(publication) then
        perform pgstream._alter_publication(publication, action, rel);
        return true;
      end if;
    exception when lock_not_available then
      null; -- tried again
    end;
    if clock_timestamp() >= deadline then
      return false;
    end if;
    perform pg_sleep(0.005);
  end loop;
end
$$;

comment on function pgstream._try_alter_publication is
  'Adds a table, which is locked, to a publication, or drops it from there; false when somebody '
  'else was changing the publications until the deadline.';

create or replace function pgstream._sync_publications(
  queue boolean, among oid[] default null, deadline timestamptz default null
) returns integer
  language plpgsql volatile parallel unsafe security definer
  -- definer: only the owner of a publication and of a table may publish the one in the other
  set search_path = pg_catalog, pg_temp
  set jit = off
as $$
declare
  v_start constant timestamptz := clock_timestamp();
  v_deadline constant timestamptz := coalesce(deadline, pgstream._lock_deadline());
  v_adds_only constant boolean :=
    current_setting('transaction_isolation') in ('repeatable read', 'serializable');
  v_change record;
  v_queue boolean := queue;
  -- A statement of DDL waits for what would be lost otherwise; its removals are for the upkeep.
  v_drop_deadline constant timestamptz := case when queue then v_deadline else v_start end;
  v_ours name[] := '{}';
  v_count integer := 0;
begin
  for v_change in
    select c.*, case when c.wanted then 'add' else 'drop' end as action
    from pgstream._publication_changes(among) c
  loop
    if v_change.wanted then
      if v_ours = '{}' and not pgstream._try_lock('publications', deadline => v_deadline) then
        perform pgstream._refuse_locked('the publications are');
      elsif not pgstream._try_lock_table(
        v_change.rel, 'share row exclusive', v_queue, v_deadline) then
        perform pgstream._refuse_locked(format('table %s is', v_change.rel));
      end if;
      v_queue := false;
    else
      -- What such a transaction does not see may be what the table is published for.
      continue when v_adds_only or not pgstream._try_lock_table(
        v_change.rel, 'share update exclusive', false, v_drop_deadline, partitions => false);
    end if;
    if v_change.publication = any (v_ours) then
      perform pgstream._alter_publication(
        v_change.publication, v_change.action, v_change.rel);
    elsif pgstream._try_alter_publication(
      v_change.publication, v_change.action, v_change.rel,
      case when v_change.wanted then v_deadline else v_drop_deadline end) then
      v_ours := v_ours || v_change.publication;
    elsif v_change.wanted then
      perform pgstream._refuse_locked('the publications are');
    else
      continue;
    end if;
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;

comment on function pgstream._sync_publications is
  'Does the work of pgstream.sync_publications(). among: only for these tables. A transaction with '
  'an older snapshot only adds. queue: whether it may wait in the lock manager. '
  'It does so for the first table only: waiting for one while others wait for another of its '
  'locks could make one of them the victim of a deadlock.';

create or replace function pgstream.sync_publications() returns integer
  language sql volatile parallel unsafe
  return pgstream._sync_publications(queue => true);

comment on function pgstream.sync_publications is
  'Publishes the tables that subscriptions can match, and no others; returns the number of '
  'changes. Fails with 55P03 when a table is being written by a transaction that stays open for '
  'longer than pgstream.lock_timeout. A table that nobody wants any more may stay published until '
  'the next call if it is locked.';

create or replace function pgstream._refuse_locked(what text) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '% in use by another transaction', what
    using errcode = 'lock_not_available',
          detail = 'A table is published only while no older transaction is writing it, so that '
                   'each later commit is seen whole.',
          hint = 'Try again when that transaction has ended, or wait longer: '
                 'set pgstream.lock_timeout = ''10s'';';
end
$$;

comment on function pgstream._refuse_locked is 'Raises 55P03 with the way out.';

create or replace function pgstream.create_publications() returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_created boolean := false;
  v_table regclass;
begin
  if not exists (select from pg_publication where pubname = 'pgstream_control') then
    create publication pgstream_control
      for table only pgstream.schema_log, only pgstream.subscription_changes,
        only pgstream.ddl_error, only pgstream.table_rewrites, only pgstream.emitted_events,
        only pgstream.snapshot_marks
      with (publish = 'insert', publish_via_partition_root = true);
    v_created := true;
  else
    for v_table in
      select t.rel
      from unnest('{pgstream.table_rewrites,pgstream.emitted_events,pgstream.snapshot_marks}'
          ::regclass[]) t(rel)
      where not exists (
        select from pg_publication_rel r
        join pg_publication p on p.oid = r.prpubid
        where r.prrelid = t.rel and p.pubname = 'pgstream_control')
    loop
      execute format('alter publication pgstream_control add table only %s', v_table);
    end loop;
  end if;
  if not exists (select from pg_publication where pubname = 'pgstream_insert') then
    create publication pgstream_insert
      with (publish = 'insert, truncate', publish_via_partition_root = true);
    v_created := true;
  end if;
  if not exists (select from pg_publication where pubname = 'pgstream_update') then
    create publication pgstream_update
      with (publish = 'update, delete', publish_via_partition_root = true);
    v_created := true;
  end if;
  if current_setting('server_version_num')::integer >= 180000 then
    alter publication pgstream_insert set (publish_generated_columns = 'stored');
    alter publication pgstream_update set (publish_generated_columns = 'stored');
  end if;
  perform pgstream.sync_publications();
  return v_created;
end
$$;

comment on function pgstream.create_publications is
  'Creates the publications that are missing and fills them; true when one was missing. Run it '
  'before the slot is created: a slot older than a publication cannot read it.';

create or replace function pgstream.drop_publications() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  drop publication if exists pgstream_control, pgstream_insert, pgstream_update;
end
$$;

comment on function pgstream.drop_publications is
  'Drops our publications. A slot that has not read beyond this point cannot be used any more.';
