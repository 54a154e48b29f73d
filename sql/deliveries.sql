alter table pgstream.replay_requests enable row level security;

drop policy if exists what_one_may_see_one_may_replay on pgstream.replay_requests;
create policy what_one_may_see_one_may_replay on pgstream.replay_requests for insert
  with check (exists (select from pgstream.webhook_subscriptions s where s.id = subscription));

comment on policy what_one_may_see_one_may_replay on pgstream.replay_requests is
  'Who sees a subscription may ask for its deliveries to be tried again.';

drop policy if exists runners_take_all_requests on pgstream.replay_requests;
create policy runners_take_all_requests on pgstream.replay_requests
  using ((select has_function_privilege('pgstream._runner()', 'execute')));

comment on policy runners_take_all_requests on pgstream.replay_requests is
  'Runners act on all requests, and remove them.';

create or replace function pgstream.replay(
  subscription bigint,
  since timestamptz default null,
  until timestamptz default null,
  schema_name text default '',
  table_name text default '',
  state text default null,
  webhook_id text default null
) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_enabled boolean;
  v_count bigint;
begin
  select s.enabled into v_enabled
  from pgstream.webhook_status s
  where s.id = replay.subscription;

  if v_enabled is null then
    raise exception 'there is no subscription %', coalesce(replay.subscription::text, 'null')
      using errcode = 'undefined_object',
            hint = 'See which there are: select id, url, dead from pgstream.webhook_status;';
  elsif replay.state not in ('pending', 'dead') then
    raise exception 'there are no deliveries of state "%"', replay.state
      using errcode = 'invalid_parameter_value',
            hint = 'States are pending and dead; null stands for both.';
  elsif replay.since > replay.until then
    raise exception 'since is later than until'
      using errcode = 'invalid_parameter_value',
            detail = format('since: %s, until: %s', replay.since, replay.until),
            hint = 'Swap them: since comes first, and until is not included.';
  end if;

  -- locked in the order in which they are delivered
  with chosen as (
    select d.subscription, d.commit_lsn, d.ordinal
    from pgstream.deliveries d
    where d.subscription = replay.subscription
      and (replay.since is null or d.committed_at >= replay.since)
      and (replay.until is null or d.committed_at < replay.until)
      and (replay.state is null or d.state = replay.state)
      and (replay.webhook_id is null or d.webhook_id = replay.webhook_id)
      and pgstream._name_matches(d.schema_name, coalesce(replay.schema_name, ''))
      and pgstream._name_matches(d.table_name, coalesce(replay.table_name, ''))
    order by d.commit_lsn, d.ordinal
    for no key update
  )
  update pgstream.deliveries d
  set state = 'pending',
      replayed = d.replayed or d.state <> 'pending',
      attempts = case d.state when 'pending' then d.attempts else 0 end,
      active_for = '0'
  from chosen c
  where (d.subscription, d.commit_lsn, d.ordinal) = (c.subscription, c.commit_lsn, c.ordinal);
  get diagnostics v_count = row_count;

  insert into pgstream.replay_requests (subscription) values (replay.subscription);
  if not v_enabled then
    raise notice 'subscription % is not enabled: its deliveries wait', replay.subscription
      using hint = format('update pgstream.webhook_subscriptions set enabled = true where id = %s;',
                          replay.subscription);
  end if;
  return v_count;
end
$$;

comment on function pgstream.replay is
  'Tries the deliveries of a subscription that wait or are dead at once, and returns their number: '
  'all of them, or those that were committed from since on and before until, whose schema and '
  'table fit (* and ? are wildcards), of one state, or one by its webhook id. Dead ones start '
  'anew and carry the header webhook-replay, since newer versions of their row may have arrived.';

create or replace function pgstream.wait_delivered(
  subscription bigint default null,
  timeout interval default '30 s'
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_target constant pg_lsn := pg_current_wal_insert_lsn();
  v_deadline constant timestamptz := clock_timestamp() + timeout;
  v_reading boolean;
  v_slots text;
  v_confirmed boolean;
  v_lag numeric;
  v_dead record;
  v_waiting record;
begin
  if pg_current_xact_id_if_assigned() is not null then
    raise exception 'the changes of this transaction cannot be delivered before it commits'
      using errcode = 'active_sql_transaction',
            hint = 'Commit, then: select pgstream.wait_delivered();';
  elsif current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'deliveries cannot be waited for in a % transaction',
      upper(current_setting('transaction_isolation'))
      using errcode = 'feature_not_supported',
            detail = 'It does not see what becomes of them after it began.',
            hint = 'begin isolation level read committed;';
  elsif timeout is null or timeout < '0' then
    raise exception 'timeout is not a length of time'
      using errcode = 'invalid_parameter_value',
            detail = format('timeout: %s', coalesce(timeout::text, 'null')),
            hint = 'Write, e.g., timeout => ''30 s''.';
  elsif wait_delivered.subscription is not null and not exists (
    select from pgstream.webhook_status s where s.id = wait_delivered.subscription
  ) then
    raise exception 'there is no subscription %', wait_delivered.subscription
      using errcode = 'undefined_object',
            hint = 'See which there are: select id, url, state from pgstream.webhook_status;';
  end if;

  select bool_and(r.state in ('starting', 'streaming', 'reconnecting'))
           filter (where r.state <> 'missing'),
         string_agg(format('slot %s: %s', r.slot_name, r.state), ', ' order by r.slot_name)
  into v_reading, v_slots
  from pgstream.replication_status r
  where r.heartbeat_at is not null;
  if v_reading is not true then
    raise exception 'no runner reads a slot'
      using errcode = 'object_not_in_prerequisite_state',
            detail = coalesce(v_slots, 'No slot has ever had one.'),
            hint = 'Start pgstream run, or see why: select * from pgstream.replication_status;';
  end if;

  loop
    select bool_and(coalesce(r.confirmed_lsn >= v_target, false)),
           max(v_target - r.confirmed_lsn)
    into v_confirmed, v_lag
    from pgstream.replication_status r
    where r.heartbeat_at is not null and r.state <> 'missing';

    -- From here on, snapshots are newer than the position: they see what was set aside before it.
    select d.webhook_id, d.subscription, d.state into v_dead
    from pgstream.deliveries d
    join pgstream.webhook_status s on s.id = d.subscription
    where d.state in ('dead', 'denied')
      and d.commit_lsn < v_target
      and (wait_delivered.subscription is null or s.id = wait_delivered.subscription)
    limit 1;
    if v_dead.state = 'denied' then
      raise exception 'delivery % shows what may not be read any more', v_dead.webhook_id
        using errcode = 'object_not_in_prerequisite_state',
              detail = format('subscription: %s', v_dead.subscription),
              hint = format('Grant its owner SELECT again, or skip it: delete from '
                            'pgstream.deliveries where webhook_id = %L;', v_dead.webhook_id);
    elsif v_dead.webhook_id is not null then
      raise exception 'delivery % was given up', v_dead.webhook_id
        using errcode = 'object_not_in_prerequisite_state',
              detail = format('subscription: %s', v_dead.subscription),
              hint = format('Try it again: select pgstream.replay(subscription => %s, '
                            'state => ''dead''); or skip it: delete from '
                            'pgstream.webhook_deliveries where webhook_id = %L;',
                            v_dead.subscription, v_dead.webhook_id);
    end if;

    -- one look into the primary key a subscription
    select s.id, s.enabled into v_waiting
    from pgstream.webhook_status s
    where (wait_delivered.subscription is null or s.id = wait_delivered.subscription)
      and (
        select true
        from pgstream.deliveries d
        where d.subscription = s.id and d.commit_lsn < v_target and d.state = 'pending'
        limit 1
      )
    order by s.enabled
    limit 1;
    if not v_waiting.enabled then
      raise exception 'subscription % is not enabled: its deliveries wait', v_waiting.id
        using errcode = 'object_not_in_prerequisite_state',
              hint = format('update pgstream.webhook_subscriptions set enabled = true where id = '
                            '%s;', v_waiting.id);
    end if;

    exit when v_confirmed and v_waiting.id is null;
    if clock_timestamp() >= v_deadline then
      raise exception 'not everything was delivered within %', timeout
        using errcode = 'query_canceled',
              detail = format('bytes of log to read: %s, deliveries that wait: %s',
                coalesce(greatest(v_lag, 0)::text, 'unknown'), (
                  select count(*)
                  from pgstream.deliveries d
                  join pgstream.webhook_status s on s.id = d.subscription
                  where d.state = 'pending'
                    and d.commit_lsn < v_target
                    and (wait_delivered.subscription is null
                         or s.id = wait_delivered.subscription))),
              hint = 'See why: select * from pgstream.webhook_status;';
    end if;
    perform pg_sleep(0.02);
  end loop;
end
$$;

comment on function pgstream.wait_delivered is
  'Returns when all that was committed before the call has been accepted by its endpoints, of all '
  'subscriptions or of one; for tests. Fails with 57014 at the timeout, with 55000 at once where '
  'no runner is heard, a delivery is dead or waits for a subscription that is not enabled, and '
  'with 25001 in a transaction that has written.';
