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

create or replace function pgstream._has_replica_identity(rel oid) returns boolean
  language sql stable strict parallel safe
begin atomic
  select bool_and(
    case c.relreplident
      when 'f' then true
      when 'i' then exists (
        select from pg_index i
        where i.indrelid = c.oid and i.indisreplident and i.indisvalid)
      when 'd' then exists (
        select from pg_index i
        where i.indrelid = c.oid and i.indisprimary and i.indisvalid and i.indimmediate)
      else false
    end)
  from pg_class c
  where c.oid = rel
     or c.oid in (select t.relid from pg_partition_tree(rel) t where t.isleaf);
end;

comment on function pgstream._has_replica_identity is
  'Whether updates of the table can be published without making them fail: for it and each of its '
  'partitions, REPLICA IDENTITY FULL, a valid chosen index, or an immediate primary key.';

create or replace function pgstream._wanted_tables(among oid[] default null)
  returns table (rel oid, wants_insert boolean, wants_update boolean)
  language sql stable parallel safe
begin atomic
  with wanted as (
    select s.schema_name, s.table_name,
           bool_or(coalesce(s.event_types = '{}' or s.event_types && '{I,T,*}', true)) as inserts,
           bool_or(coalesce(s.event_types = '{}' or s.event_types && '{U,D,*}', true)) as updates
    from pgstream.webhook_subscriptions s
    where coalesce(s.event_types = '{}' or s.event_types && '{I,U,D,T,*}', true)
    group by s.schema_name, s.table_name
  ), matched as (
    select n.oid as schema_oid, w.table_name, w.inserts, w.updates
    from wanted w
    join pg_namespace n on n.nspname = w.schema_name
    union all
    select n.oid, w.table_name, w.inserts, w.updates
    from wanted w
    join pg_namespace n on pgstream._name_matches(n.nspname, w.schema_name)
    where pgstream._is_pattern(w.schema_name)
  ), tables as materialized (
    select c.oid as rel, c.relname, c.relnamespace
    from unnest(coalesce(among, array(select r.oid from pg_class r where r.relkind in ('r', 'p'))))
      a(oid)
    join pg_class c on c.oid = a.oid
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
      and c.relpersistence = 'p'
      and not c.relispartition
      and not pgstream.is_system_schema(n.nspname)
      and exists (select from wanted)
  ), found as (
    select t.rel, m.inserts, m.updates
    from tables t
    join matched m on m.schema_oid = t.relnamespace and m.table_name = t.relname
    union all
    select t.rel, m.inserts, m.updates
    from tables t
    join matched m on m.schema_oid = t.relnamespace
    where pgstream._is_pattern(m.table_name) and pgstream._name_matches(t.relname, m.table_name)
  )
  select f.rel, bool_or(f.inserts), bool_or(f.updates)
  from found f
  group by f.rel;
end;

comment on function pgstream._wanted_tables is
  'The tables that a subscription can match: permanent ones, partitioned ones by their root. '
  'among: only of these.';

create or replace function pgstream._publication_changes(among oid[] default null)
  returns table (rel regclass, publication name, wanted boolean, must boolean)
  language sql stable parallel safe
begin atomic
  with matched as materialized (
    select w.rel, w.wants_insert, w.wants_update from pgstream._wanted_tables(among) w
  ), wanted as (
    select w.rel, 'pgstream_insert'::name as publication
    from matched w
    where w.wants_insert
    union all
    select w.rel, 'pgstream_update'
    from matched w
    where w.wants_update and pgstream._has_replica_identity(w.rel)
  ), published as (
    select r.prrelid as rel, p.pubname as publication
    from pg_publication_rel r
    join pg_publication p on p.oid = r.prpubid
    where p.pubname in ('pgstream_insert', 'pgstream_update')
      and (among is null or r.prrelid = any (among))
  )
  select coalesce(w.rel, p.rel)::regclass,
         coalesce(w.publication, p.publication),
         w.rel is not null,
         w.rel is null and p.publication = 'pgstream_update'
           and not pgstream._has_replica_identity(p.rel)
  from wanted w
  full join published p on p.rel = w.rel and p.publication = w.publication
  where (w.rel is null or p.rel is null)
    and coalesce(w.publication, p.publication) in (select b.pubname from pg_publication b)
  order by w.rel is not null, 1, 2;
end;

comment on function pgstream._publication_changes is
  'What has to change for the publications to hold the wanted tables, removals first. must: the '
  'table has lost its replica identity, and its own updates would fail if it stayed. among: only '
  'of these tables.';

create or replace function pgstream._unpublish_unwritable(among oid[] default null) returns void
  language plpgsql volatile parallel unsafe security definer
  -- definer: only the owner of a publication may change it
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_usual constant text := current_setting('lock_timeout');
  v_rel regclass;
begin
  for v_rel in
    select r.prrelid
    from pg_publication_rel r
    join pg_publication p on p.oid = r.prpubid and p.pubname = 'pgstream_update'
    where (among is null or r.prrelid = any (among))
      and not pgstream._has_replica_identity(r.prrelid)
    order by r.prrelid
  loop
    perform set_config('lock_timeout', '0', true);
    execute format('alter publication pgstream_update drop table only %s', v_rel);
    perform set_config('lock_timeout', v_usual, true);
  end loop;
end
$$;

comment on function pgstream._unpublish_unwritable is
  'Takes tables that have lost their replica identity out of pgstream_update, however long it has '
  'to wait: their updates would fail otherwise.';

create or replace function pgstream._sync_publications(
  queue boolean, among oid[] default null, deadline timestamptz default null
) returns integer
  language plpgsql volatile parallel unsafe security definer
  -- definer: only the owner of a publication and of a table may publish the one in the other
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_deadline constant timestamptz := coalesce(deadline, pgstream._lock_deadline());
  v_change record;
  v_locked boolean;
  v_queue boolean := queue;
  v_count integer := 0;
begin
  perform pgstream._unpublish_unwritable(among);
  if not exists (select from pgstream._publication_changes(among)) then
    return 0;
  end if;
  v_locked := pgstream._try_lock('publications', deadline => v_deadline);

  for v_change in select * from pgstream._publication_changes(among) loop
    if v_change.wanted then
      if not v_locked then
        perform pgstream._refuse_locked('the publications are');
      end if;
      if not pgstream._try_lock_table(
        v_change.rel, 'share row exclusive', v_queue, v_deadline) then
        perform pgstream._refuse_locked(format('table %s is', v_change.rel));
      end if;
      v_queue := false;
      execute format('alter publication %I add table only %s', v_change.publication, v_change.rel);
    elsif v_locked
      and pgstream._try_lock_table(v_change.rel, 'share update exclusive', false, v_deadline) then
      execute format('alter publication %I drop table only %s', v_change.publication, v_change.rel);
    else
      continue;
    end if;
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;

comment on function pgstream._sync_publications is
  'Does the work of pgstream.sync_publications(). among: only for these tables. queue: whether it '
  'may wait in the lock manager. '
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
