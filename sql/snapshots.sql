-- Requests for the rows that are there already, which a runner delivers beside the stream.

create or replace function pgstream._snapshot_relations(schema_name text, table_names text[])
  returns table (wanted text, rel oid)
  language sql stable parallel safe
begin atomic
  select w.name, t.oid
  from unnest(table_names) w(name)
  left join lateral (
    select c.oid
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where pgstream._name_matches(n.nspname, schema_name)
      and pgstream._name_matches(c.relname, w.name)
      and (not (pgstream._is_pattern(schema_name) or pgstream._is_pattern(w.name))
        and c.relkind in ('r', 'p', 'v', 'm', 'f')
        or c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition
          and not pgstream.is_system_schema(n.nspname))
  ) t on true;
end;

comment on function pgstream._snapshot_relations is
  'What each of the names stands for, null where it is nothing; patterns only for permanent tables '
  'that are not partitions.';

create or replace function pgstream._wants_inserts(subscription bigint, relation oid)
  returns boolean
  language sql stable parallel safe
begin atomic
  select exists (
    select
    from pgstream.webhook_subscriptions s
    join pg_class c on c.oid = relation
    join pg_namespace n on n.oid = c.relnamespace
    where (subscription is null or s.id = subscription)
      and pgstream._name_matches(n.nspname, s.schema_name)
      and pgstream._name_matches(c.relname, s.table_name)
      and coalesce(s.event_types = '{}' or s.event_types && '{I,*}', true));
end;

comment on function pgstream._wants_inserts is
  'Whether the subscription, or any where it is null, is to inserts of the table.';

create or replace function pgstream._check_snapshot_relation(
  relation oid, requested_by name, administers boolean
) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_table record;
  v_restriction record;
begin
  select c.relkind, c.relpersistence, c.relispartition, c.oid::regclass as name,
         n.nspname into strict v_table
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = relation;
  if pgstream.is_system_schema(v_table.nspname) then
    raise exception 'the rows of schema "%" are never sent', v_table.nspname
      using errcode = 'feature_not_supported',
            hint = 'Ask for tables of your own schemas.';
  elsif v_table.relkind not in ('r', 'p') or v_table.relpersistence <> 'p' then
    raise exception '% is not a permanent table', v_table.name
      using errcode = 'feature_not_supported',
            detail = 'The rows of views, foreign, unlogged and temporary tables are not sent.',
            hint = 'Ask for the tables behind it.';
  elsif v_table.relispartition then
    raise exception '% is a partition', v_table.name
      using errcode = 'feature_not_supported',
            hint = format('Ask for %s.', (
              select a.relid from pg_partition_ancestors(v_table.name) a(relid)
              where not (select c.relispartition from pg_class c where c.oid = a.relid)));
  end if;
  if administers then
    return;
  end if;
  select r.* into v_restriction
  from pgstream._restrictions(requested_by, array[relation]) r
  where r.problem is not null;
  if v_restriction.problem is not null then
    raise exception 'permission denied for the rows of %', v_table.name
      using errcode = 'insufficient_privilege',
            detail = format('A snapshot is for those who may read the table, but %s.',
                            v_restriction.reason),
            hint = format('As an administrator: %s', v_restriction.remedy);
  end if;
end
$$;

comment on function pgstream._check_snapshot_relation is
  'Refuses what no snapshot can be taken of (0A000), or not for this role (42501).';

create or replace function pgstream._check_requester() returns trigger
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' and new.requested_by is distinct from current_user then
    raise exception 'who asks for a snapshot cannot be set'
      using errcode = 'insufficient_privilege',
            detail = format('requested_by: %s, role: %s', new.requested_by, current_user),
            hint = 'Leave it out: it is the role that asks. Or: set role to the other one.';
  elsif tg_op = 'UPDATE'
    and (new.id, new.schema_name, new.table_names, new.subscription, new.requested_by, new.setting)
      is distinct from
        (old.id, old.schema_name, old.table_names, old.subscription, old.requested_by, old.setting)
  then
    raise exception 'snapshot % has been asked for', old.id
      using errcode = 'object_not_in_prerequisite_state',
            detail = 'Of a request, only chunk_rows, share and paused can be changed.',
            hint = 'Insert another one; delete this one to cancel it.';
  end if;
  return new;
end
$$;

comment on function pgstream._check_requester is
  'Trigger: a request belongs to the role that makes it, and says what it said at first.';

create or replace function pgstream._check_snapshot() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may ask need not be able to call what checks a request
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_administers constant boolean :=
    has_function_privilege(new.requested_by, 'pgstream._operator()', 'execute');
  v_found record;
begin
  new.state := 'pending';
  new.reason := null;
  new.started_at := null;
  new.finished_at := null;
  if coalesce(array_position(new.table_names, null), 0) > 0
    or cardinality(new.table_names) = 0 then
    raise exception 'a snapshot is of at least one table'
      using errcode = 'invalid_parameter_value',
            detail = format('table_names: %s', new.table_names),
            hint = 'Write names, e.g. ''{orders}'', or ''{*}'' for every table of the schema.';
  elsif not exists (
    select from pg_publication_rel r
    join pg_publication p on p.oid = r.prpubid
    where r.prrelid = 'pgstream.snapshot_marks'::regclass and p.pubname = 'pgstream_control') then
    raise exception 'the marks of snapshots are not published, so that nobody would get any row'
      using errcode = 'object_not_in_prerequisite_state',
            hint = 'Run pgstream init, or: select pgstream.create_publications();';
  elsif new.subscription is null and not v_administers then
    raise exception 'role "%" may ask for snapshots of its own subscriptions only',
      new.requested_by
      using errcode = 'insufficient_privilege',
            detail = 'Without a subscription, the rows are for everybody who subscribes to them.',
            hint = 'Name one in column subscription: select id, name, url from '
                   'pgstream.webhook_subscriptions;';
  elsif new.subscription is not null and not exists (
    select from pgstream.webhook_subscriptions s
    where s.id = new.subscription and (v_administers or s.owner = new.requested_by)) then
    raise exception 'there is no subscription % of yours', new.subscription
      using errcode = 'undefined_object',
            hint = 'See which there are: select id, name, url from '
                   'pgstream.webhook_subscriptions;';
  end if;

  for v_found in
    select * from pgstream._snapshot_relations(new.schema_name, new.table_names)
  loop
    if v_found.rel is not null then
      perform pgstream._check_snapshot_relation(v_found.rel, new.requested_by, v_administers);
    elsif pgstream._is_pattern(v_found.wanted) or pgstream._is_pattern(new.schema_name) then
      raise exception 'no table matches %.%', new.schema_name, v_found.wanted
        using errcode = 'undefined_table',
              detail = 'A snapshot is of the tables that there are when it is asked for.',
              hint = 'See which there are: \dt *.*';
    else
      raise exception 'table %.% does not exist',
        quote_ident(new.schema_name), quote_ident(v_found.wanted)
        using errcode = 'undefined_table',
              detail = format('schema_name: %s, table_names: %s', new.schema_name,
                              new.table_names),
              hint = format('See which there are: \dt %s.*', quote_ident(new.schema_name));
    end if;
  end loop;
  return new;
end
$$;

comment on function pgstream._check_snapshot is
  'Trigger: refuses a request for what is not there, is no table, or is not for that role.';

create or replace function pgstream._list_snapshot() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may ask need not be able to write pgstream.snapshot_tables
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_unwanted text;
begin
  insert into pgstream.snapshot_tables (request, oid, schema_name, table_name)
  select distinct on (c.oid) new.id, c.oid::bigint, n.nspname, c.relname
  from pgstream._snapshot_relations(new.schema_name, new.table_names) r
  join pg_class c on c.oid = r.rel
  join pg_namespace n on n.oid = c.relnamespace;
  if new.setting is not null then
    return null;
  end if;

  with unwanted as (
    update pgstream.snapshot_tables t
    set state = 'done', finished_at = clock_timestamp(),
        reason = 'no subscription is sent inserts of it'
    where t.request = new.id and not pgstream._wants_inserts(new.subscription, t.oid::oid)
    returning format('%I.%I', t.schema_name, t.table_name) as name
  )
  select string_agg(u.name, ', ' order by u.name) into v_unwanted from unwanted u;
  if v_unwanted is not null then
    raise notice 'the rows of % are for nobody', v_unwanted
      using detail = 'No subscription that is meant is to inserts of it.',
            hint = 'Subscribe to it first: insert into pgstream.webhook_subscriptions ...';
  end if;
  if not exists (
    select from pgstream.snapshot_tables t where t.request = new.id and t.state <> 'done') then
    update pgstream.snapshot_requests r
    set state = 'done', reason = 'no subscription is sent inserts of its tables',
        finished_at = clock_timestamp()
    where r.id = new.id;
  end if;
  return null;
end
$$;

comment on function pgstream._list_snapshot is
  'Trigger: lists the tables of a request; those that no subscription wants are done.';

create or replace function pgstream._end_snapshots() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may delete a subscription need not have asked for its snapshots
  set search_path = pg_catalog, pg_temp
as $$
begin
  delete from pgstream.snapshot_requests r
  where case when tg_op = 'TRUNCATE' then r.subscription is not null
             else r.subscription = old.id
        end;
  return null;
end
$$;

comment on function pgstream._end_snapshots is
  'Trigger: requests for one subscription go with it. No foreign key, which would be in the way of '
  'TRUNCATE.';

create or replace trigger check_requester
  before insert or update on pgstream.snapshot_requests
  for each row execute function pgstream._check_requester();

create or replace trigger check_snapshot
  before insert on pgstream.snapshot_requests
  for each row execute function pgstream._check_snapshot();

create or replace trigger list_snapshot
  after insert on pgstream.snapshot_requests
  for each row execute function pgstream._list_snapshot();

create or replace trigger end_snapshots
  after delete on pgstream.webhook_subscriptions
  for each row execute function pgstream._end_snapshots();

create or replace trigger end_all_snapshots
  after truncate on pgstream.webhook_subscriptions
  for each statement execute function pgstream._end_snapshots();

alter table pgstream.snapshot_requests enable row level security;

drop policy if exists requesters_have_their_own on pgstream.snapshot_requests;
create policy requesters_have_their_own on pgstream.snapshot_requests
  using (requested_by = current_user
    or (select has_function_privilege('pgstream._operator()', 'execute')));

comment on policy requesters_have_their_own on pgstream.snapshot_requests is
  'A role sees and changes the requests that it has made, an operator all of them.';

alter table pgstream.snapshot_tables enable row level security;

drop policy if exists tables_are_seen_with_their_request on pgstream.snapshot_tables;
create policy tables_are_seen_with_their_request on pgstream.snapshot_tables
  using (exists (select from pgstream.snapshot_requests r where r.id = request));

comment on policy tables_are_seen_with_their_request on pgstream.snapshot_tables is
  'Whoever sees a request sees its tables.';

create or replace function pgstream._grant_snapshots(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('grant select on pgstream.snapshot_requests, pgstream.snapshot_tables, '
                 'pgstream.snapshot_status to %s', role);
  perform pgstream._grant_columns(
    'pgstream.snapshot_requests', 'insert',
    '{schema_name,table_names,subscription,chunk_rows,share,paused}', '{}', role);
  perform pgstream._grant_columns(
    'pgstream.snapshot_requests', 'update', '{chunk_rows,share,paused}', '{}', role);
  execute format('grant delete on pgstream.snapshot_requests to %s', role);
end
$$;

comment on function pgstream._grant_snapshots is
  'Grants the making, pausing and cancelling of requests for snapshots.';

create or replace function pgstream._grant_snapshotting(role regrole) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgstream._grant_columns(
    'pgstream.snapshot_requests', 'insert', '{setting}', '{}', role);
  perform pgstream._grant_columns(
    'pgstream.snapshot_requests', 'update', '{state,reason,started_at,finished_at}', '{}', role);
  execute format('grant update on pgstream.snapshot_tables to %s', role);
  execute format('grant select, insert, delete on pgstream.snapshot_marks to %s', role);
end
$$;

comment on function pgstream._grant_snapshotting is
  'Grants what a runner needs to work at requests; to read a table it needs SELECT on it.';
