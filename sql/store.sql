-- Subscriptions that are kept in another database, the store. The runner copies them here whenever
-- they change there: so they are published, take effect and are delivered as those that are made
-- here, also while the store is away.

create or replace function pgstream._copy_subscription(
  subscription jsonb, out code text, out problem text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_copy pgstream.webhook_subscriptions;
  v_columns text;
  v_hint text;
begin
  select s.* into v_copy
  from pgstream.webhook_subscriptions s
  where s.store_id = (subscription ->> 'store_id')::bigint;
  if v_copy.store_secret = subscription ->> 'store_secret' then
    subscription := subscription - 'secret';
  end if;

  select string_agg(quote_ident(a.attname), ', ' order by a.attnum) into v_columns
  from pg_attribute a
  where a.attrelid = 'pgstream.webhook_subscriptions'::regclass and a.attnum > 0
    and not a.attisdropped and a.attname <> 'id' and subscription ? a.attname;

  if v_copy.id is not null then
    execute format(
      'update pgstream.webhook_subscriptions s
       set (%1$s) = (select %1$s from jsonb_populate_record(s, $1))
       where s.store_id = ($1 ->> ''store_id'')::bigint
         and s is distinct from jsonb_populate_record(s, $1 - ''id'')', v_columns)
    using subscription;
  else
    execute format(
      'insert into pgstream.webhook_subscriptions (%1$s)
       select %1$s from jsonb_populate_record(null::pgstream.webhook_subscriptions, $1)', v_columns)
    using subscription;
  end if;
exception when others then
  get stacked diagnostics
    code = returned_sqlstate, problem = message_text, v_hint = pg_exception_hint;
  problem := concat_ws('. ', problem, nullif(v_hint, ''));
end
$$;

comment on function pgstream._copy_subscription is
  'Makes or changes the copy of a subscription of the store, given as its row with the id as '
  'store_id; returns why it cannot, if so.';

create or replace function pgstream.copy_subscriptions(subscriptions jsonb)
  returns table (store_id bigint, code text, problem text)
  language plpgsql volatile parallel unsafe security definer
  -- definer: the copies belong to the owners of the originals
  set search_path = pg_catalog, pg_temp
as $$
begin
  delete from pgstream.webhook_subscriptions s
  where s.store_id is not null
    and s.store_id not in (select (r.s ->> 'store_id')::bigint
                           from jsonb_array_elements(subscriptions) r(s));
  return query
    select (r.s ->> 'store_id')::bigint, c.code, c.problem
    from jsonb_array_elements(subscriptions) r(s), pgstream._copy_subscription(r.s) c
    where c.problem is not null;
end
$$;

comment on function pgstream.copy_subscriptions is
  'Makes the copies of the subscriptions that a store in another database has the same as these '
  'rows of it, and returns those that cannot be copied. To be called by a runner, and with an '
  'empty array when there is no store any more.';

create or replace view pgstream.copied_status as
select s.store_id as subscription, w.state, w.delivered, w.dropped, w.pending as in_memory,
       w.last_success_at, w.last_error, w.last_error_at, w.next_attempt_at
from pgstream.webhook_status w
join pgstream.webhook_subscriptions s on s.id = w.id
where s.store_id is not null;

comment on view pgstream.copied_status is
  'How the copies of a store''s subscriptions do, as pgstream.note_states there takes it.';
comment on column pgstream.copied_status.subscription is 'The id in the store.';
comment on column pgstream.copied_status.state is 'As in pgstream.webhook_status.';
comment on column pgstream.copied_status.delivered is 'How many events were accepted.';
comment on column pgstream.copied_status.dropped is 'How many events were lost at the quota.';
comment on column pgstream.copied_status.in_memory is 'How many events wait, wherever.';
comment on column pgstream.copied_status.last_success_at is 'When an event was last accepted.';
comment on column pgstream.copied_status.last_error is 'Why an attempt last failed.';
comment on column pgstream.copied_status.last_error_at is 'When an attempt last failed.';
comment on column pgstream.copied_status.next_attempt_at is
  'When an endpoint that is left alone is tried again; null while it is not.';

create or replace function pgstream.stored_subscriptions(
  out subscriptions jsonb, out last_change bigint
)
  language sql stable parallel safe security definer
  -- definer: a runner reads the subscriptions of all owners, with their secrets
  set search_path = pg_catalog, pg_temp
begin atomic
  select (
      select coalesce(jsonb_agg(
               to_jsonb(s) - '{id,store_id}'::text[] || jsonb_build_object(
                 'store_id', s.id, 'store_secret', s.secret,
                 'secret', (select k.secret from pgstream.subscription_secrets k
                            where format('kept:%s', k.id) = s.secret))
               order by s.id), '[]')
      from pgstream.webhook_subscriptions s),
    (select coalesce(max(c.id), 0) from pgstream.subscription_changes c);
end;

comment on function pgstream.stored_subscriptions is
  'The subscriptions that are kept here, for pgstream.copy_subscriptions in another database, and '
  'the id of the last change that is in them.';

create or replace function pgstream.note_copied(last_change bigint) returns void
  language sql volatile parallel unsafe security definer
  -- definer: these are no changes of a subscriber
  set search_path = pg_catalog, pg_temp
begin atomic
  update pgstream.subscription_changes c
  set commit_lsn = '0/0'
  where c.id <= last_change and c.commit_lsn is null;
  delete from pgstream.subscription_changes old
  using pgstream.subscription_changes new
  where old.subscription = new.subscription and old.id < new.id and new.id <= last_change;
end;

comment on function pgstream.note_copied is
  'The subscriptions have been copied to the source as they stood after this change.';

create or replace function pgstream.note_states(states jsonb) returns void
  language sql volatile parallel unsafe security definer
  -- definer: the state of the subscriptions of all owners
  set search_path = pg_catalog, pg_temp
begin atomic
  insert into pgstream.subscription_state as t
    (subscription, state, delivered, dropped, in_memory, last_success_at, last_error,
     last_error_at, next_attempt_at)
  select r.subscription, r.state, coalesce(r.delivered, 0), coalesce(r.dropped, 0),
         coalesce(r.in_memory, 0), r.last_success_at, r.last_error, r.last_error_at,
         r.next_attempt_at
  from jsonb_populate_recordset(null::pgstream.subscription_state, states) r
  join pgstream.webhook_subscriptions s on s.id = r.subscription
  on conflict (subscription) do update
  set state = excluded.state, delivered = excluded.delivered, dropped = excluded.dropped,
      in_memory = excluded.in_memory, last_success_at = excluded.last_success_at,
      last_error = excluded.last_error, last_error_at = excluded.last_error_at,
      next_attempt_at = excluded.next_attempt_at, updated_at = now();
end;

comment on function pgstream.note_states is
  'Writes down for pgstream.webhook_status how subscriptions that are delivered elsewhere do.';
