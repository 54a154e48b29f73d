-- Subscriptions are rows: what each change of one does.

create or replace function pgstream._check_subscription() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may subscribe need not be able to call what checks a subscription
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_advice record;
begin
  if tg_op = 'UPDATE' and new is not distinct from old
    and current_setting('pgstream.recheck', true) = 'on' then
    -- in a statement of somebody else, who is told nothing of the rest
    return pgstream._check_program(new, old);
  end if;
  perform pgstream._check_url(new.url);
  perform pgstream._check_event_types(new.event_types);
  perform pgstream._check_business_types(new.event_types, new.schema_name, new.table_name);
  perform pgstream._check_headers(new.headers);
  perform pgstream._check_format(new.format, new.batch_size, new.headers);
  perform pgstream._check_sizes(
    new.url, new.schema_name, new.table_name, new.name, new.headers);
  new.secret := pgstream._keep_secret(
    new.id, new.owner, case when tg_op = 'UPDATE' then old.secret end, new.secret);
  perform pgstream._check_table(new.schema_name, new.table_name, new.event_types);
  if tg_op = 'INSERT' or (new.owner, new.schema_name, new.table_name)
    is distinct from (old.owner, old.schema_name, old.table_name) then
    perform pgstream._check_rights(new.owner, new.schema_name, new.table_name);
  end if;
  if tg_op = 'INSERT'
    or (new.owner, new.event_types) is distinct from (old.owner, old.event_types) then
    perform pgstream._check_listener(new.owner, new.event_types);
  end if;
  if tg_op = 'INSERT' and coalesce(new.event_types = '{}' or new.event_types && '{U,D,*}', true)
  then
    select * into v_advice from pgstream._upkeep_advice();
    if v_advice.message is not null then
      raise notice '%', v_advice.message using detail = v_advice.detail, hint = v_advice.hint;
    end if;
  end if;
  if new.enabled then
    new.disabled_reason := null;
  end if;
  new := pgstream._check_program(new, old);
  return new;
end
$$;

comment on function pgstream._check_subscription is
  'Trigger: refuses a subscription that could never work, with a hint.';

create or replace function pgstream._log_subscription() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may subscribe need not be able to write pgstream.subscription_changes
  set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'TRUNCATE' then
    insert into pgstream.subscription_changes (subscription, definition)
    select l.subscription, null
    from (
      select distinct on (c.subscription) c.subscription, c.definition
      from pgstream.subscription_changes c
      order by c.subscription, c.id desc
    ) l
    where l.definition is not null;
    delete from pgstream.subscription_targets;
  elsif tg_op = 'DELETE' then
    insert into pgstream.subscription_changes (subscription, definition) values (old.id, null);
    delete from pgstream.subscription_targets t where t.subscription = old.id;
  elsif tg_op = 'INSERT' or new is distinct from old then
    perform pgstream._note_targets(array[new.id]);
    insert into pgstream.subscription_changes (subscription, definition)
    values (new.id, jsonb_build_object(
      'id', new.id,
      'url', new.url,
      'schema', new.schema_name,
      'table', new.table_name,
      'eventTypes', array(select unnest(new.event_types)),
      'headers', new.headers,
      'maxInFlight', new.max_in_flight,
      'timeoutMs', (extract(epoch from new.timeout) * 1000)::integer,
      'injectMetadata', new.inject_metadata,
      'enabled', new.enabled,
      'ordering', new.ordering,
      'rate', new.rate,
      'batchSize', new.batch_size,
      'batchWaitMs', (extract(epoch from new.batch_wait) * 1000)::integer,
      'retryForMs', (extract(epoch from new.retry_for) * 1000)::bigint,
      'onExhausted', new.on_exhausted,
      'spillQuota', new.spill_quota,
      'onQuota', new.on_quota,
      'secret', new.secret,
      'filter', new.filter,
      'payload', new.payload,
      'program', new.program,
      'invalidReason', new.invalid_reason,
      'format', new.format,
      'owner', new.owner
    ));
  end if;
  return null;
end
$$;

comment on function pgstream._log_subscription is
  'Trigger: appends the new state of a subscription to pgstream.subscription_changes, and notes in '
  'pgstream.subscription_targets what statements of others need of it.';

create or replace function pgstream._publish_subscribed_tables() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may subscribe owns neither the publications nor the tables
  set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' and current_setting('pgstream.recheck', true) = 'on' then
    return null;
  elsif current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'subscriptions cannot be changed in a % transaction',
      upper(current_setting('transaction_isolation'))
      using errcode = 'feature_not_supported',
            detail = 'It does not see which tables others have published or made since it began.',
            hint = 'begin isolation level read committed;';
  elsif pgstream._try_lock('membership') then
    perform pgstream._sync_publications(queue => true);
  elsif tg_op not in ('DELETE', 'TRUNCATE') then
    perform pgstream._refuse_locked('the set of subscriptions and tables is');
  end if;
  return null;
end
$$;

comment on function pgstream._publish_subscribed_tables is
  'Trigger: publishes what the subscriptions can match, in the transaction that changes them. '
  'Tables that nobody wants any more may stay published until the next change.';

create or replace function pgstream._disable_subscription(subscription bigint, reason text)
  returns void
  language sql volatile parallel unsafe security definer
  -- definer: a runner may change nothing else of the subscriptions of others
  set search_path = pg_catalog, pg_temp
begin atomic
  update pgstream.webhook_subscriptions s
  set enabled = false, disabled_reason = reason
  where s.id = subscription and s.enabled;
end;

comment on function pgstream._disable_subscription is
  'Disables a subscription that is not disabled yet; for runners.';

create or replace trigger check_subscription
  before insert or update on pgstream.webhook_subscriptions
  for each row execute function pgstream._check_subscription();

create or replace trigger log_subscription
  after insert or update or delete on pgstream.webhook_subscriptions
  for each row execute function pgstream._log_subscription();

create or replace trigger log_truncate
  after truncate on pgstream.webhook_subscriptions
  for each statement execute function pgstream._log_subscription();

create or replace trigger publish_subscribed_tables
  after insert or update or delete or truncate on pgstream.webhook_subscriptions
  for each statement execute function pgstream._publish_subscribed_tables();

-- What was written while no trigger was there.
do $$
begin
  perform pgstream._repair_targets();
exception when lock_not_available then
  -- somebody is changing a subscription; the runner, which reconciles, does it
  insert into pgstream.ddl_error (command_tag, sqlstate, message)
  values ('UPGRADE', '55P03', 'what is known of subscriptions could not be brought in step');
end
$$;
