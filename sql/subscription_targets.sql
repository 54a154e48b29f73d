-- What statements of others need to know of the subscriptions: a copy, in a table that nobody else
-- may lock, so that nobody who may subscribe holds up their DDL.
--
-- Invariant: at every commit pgstream.subscription_targets says what the subscriptions say. The
-- trigger that logs a change writes it, under the lock of the subscription's own row; anybody else
-- writes it under the lock "membership", which those who change subscriptions hold.

create or replace function pgstream._targets(subscriptions bigint[] default null)
  returns setof pgstream.subscription_targets
  language sql stable parallel safe
begin atomic
  select s.id, s.schema_name, s.table_name,
         coalesce(s.event_types = '{}' or s.event_types && '{I,T,*}', true),
         coalesce(s.event_types = '{}' or s.event_types && '{U,D,*}', true),
         s.filter is not null or s.payload is not null,
         s.program ->> 'table', s.program ->> 'signature', s.invalid_reason is not null
  from pgstream.webhook_subscriptions s
  where subscriptions is null or s.id = any (subscriptions);
end;

comment on function pgstream._targets is
  'What statements of others need of subscriptions, as these say: of these, or of all.';

create or replace function pgstream._note_targets(subscriptions bigint[]) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  delete from pgstream.subscription_targets t
  where t.subscription = any (subscriptions);
  insert into pgstream.subscription_targets
  select * from pgstream._targets(subscriptions);
end
$$;

comment on function pgstream._note_targets is
  'Writes down in pgstream.subscription_targets what statements of others need of these '
  'subscriptions, which the caller has changed, or keeps from changing.';

create or replace function pgstream._stale_targets() returns bigint[]
  language sql stable parallel safe
begin atomic
  select array_agg(distinct coalesce(w.subscription, t.subscription))
  from pgstream._targets() w
  full join pgstream.subscription_targets t on t.subscription = w.subscription
  where w is distinct from t;
end;

comment on function pgstream._stale_targets is
  'The subscriptions that pgstream.subscription_targets says something else of than they do: after '
  'a restore, or a change that no trigger has seen. Null where there are none.';

create or replace function pgstream._repair_targets() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if pgstream._stale_targets() is null then
    return;
  elsif not pgstream._try_lock('membership') then
    perform pgstream._refuse_locked('the set of subscriptions and tables is');
  end if;
  -- asked again: whoever held the lock may have changed them
  perform pgstream._note_targets(pgstream._stale_targets());
end
$$;

comment on function pgstream._repair_targets is
  'Brings pgstream.subscription_targets in step, which it nearly always is: then nothing is locked '
  'or written. Fails with 55P03 where somebody is changing subscriptions.';
