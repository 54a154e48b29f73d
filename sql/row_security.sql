-- Who sees what. Whoever owns schema pgstream, and superusers, are bound by none of it.

create or replace function pgstream._subscriber() returns void
  language sql immutable parallel safe
  return null;

comment on function pgstream._subscriber is
  'Does nothing: whoever may execute it was made a subscriber by pgstream.grant_subscriber().';

create or replace function pgstream._operator() returns void
  language sql immutable parallel safe
  return null;

comment on function pgstream._operator is
  'Does nothing: whoever may execute it sees the subscriptions and deliveries of all owners.';

create or replace function pgstream._runner() returns void
  language sql immutable parallel safe
  return null;

comment on function pgstream._runner is
  'Does nothing: whoever may execute it was made a runner by pgstream.grant_runner().';

alter table pgstream.webhook_subscriptions enable row level security;

drop policy if exists owners_have_their_own on pgstream.webhook_subscriptions;
create policy owners_have_their_own on pgstream.webhook_subscriptions
  using (owner = current_user)
  with check (owner = current_user);

comment on policy owners_have_their_own on pgstream.webhook_subscriptions is
  'A role sees and changes the subscriptions that it owns.';

drop policy if exists operators_see_all on pgstream.webhook_subscriptions;
create policy operators_see_all on pgstream.webhook_subscriptions for select
  using ((select has_function_privilege('pgstream._operator()', 'execute')));

comment on policy operators_see_all on pgstream.webhook_subscriptions is
  'Operators see the subscriptions of all owners.';

-- check_owner keeps them to what an operator may change.
drop policy if exists operators_pause_all on pgstream.webhook_subscriptions;
create policy operators_pause_all on pgstream.webhook_subscriptions for update
  using ((select has_function_privilege('pgstream._operator()', 'execute')));

comment on policy operators_pause_all on pgstream.webhook_subscriptions is
  'Operators pause the subscriptions of all owners, and change nothing else of them.';

create or replace function pgstream._check_owner() returns trigger
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_administers constant boolean := pg_has_role(
    (select c.relowner from pg_class c where c.oid = tg_relid), 'usage');
  v_free constant text[] := '{enabled,disabled_reason}';
begin
  if not v_administers and current_setting('pgstream.recheck', true) = 'on' then
    -- what it says of a change is for us alone to say
    perform set_config('pgstream.recheck', '', true);
  end if;
  if tg_op = 'INSERT' and new.owner = current_user then
    return new;
  elsif tg_op = 'UPDATE' and new.owner = old.owner
    and (v_administers or old.owner = current_user
         or to_jsonb(new) - v_free = to_jsonb(old) - v_free) then
    return new;
  elsif not v_administers and tg_op = 'UPDATE' and new.owner = old.owner then
    raise exception 'subscription % belongs to role "%"', old.id, old.owner
      using errcode = 'insufficient_privilege',
            hint = 'Of the subscriptions of others, only enabled can be changed.';
  elsif not v_administers then
    raise exception 'the owner of a subscription cannot be set'
      using errcode = 'insufficient_privilege',
            detail = format('owner: %s, role: %s', new.owner, current_user),
            hint = 'Leave it out: it is the role that subscribes. Or: set role to the other one.';
  elsif not exists (select from pg_roles r where r.rolname = new.owner) then
    raise exception 'role "%" does not exist', coalesce(new.owner, '')
      using errcode = 'undefined_object', hint = 'See which there are: \du';
  end if;
  return new;
end
$$;

comment on function pgstream._check_owner is
  'Trigger: a subscription belongs to the role that makes it, and nobody else changes it, apart '
  'from pausing it. Only an administrator, who has the rights of the owner of schema pgstream, '
  'gives it to another role.';

create or replace trigger check_owner
  before insert or update on pgstream.webhook_subscriptions
  for each row execute function pgstream._check_owner();

create or replace view pgstream.deliveries with (security_barrier) as
select d.webhook_id, d.subscription, d.commit_lsn, d.ordinal, d.state, d.schema_name,
       d.table_name, d.action, d.committed_at, d.attempts, d.active_for, d.last_attempt_at,
       d.last_status, d.last_error, d.replayed, d.columns, octet_length(d.body) as bytes
from pgstream.webhook_deliveries d
where exists (
  select from pgstream.webhook_subscriptions s
  where s.id = d.subscription
    and (s.owner = current_user
         or (select has_function_privilege('pgstream._operator()', 'execute'))));

comment on view pgstream.deliveries is
  'The rows of pgstream.webhook_deliveries whose subscription belongs to the current role, or, to '
  'an operator, all of them; without their bodies, which may hold what has been revoked since. '
  'Delete a row to skip it.';
comment on column pgstream.deliveries.webhook_id is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.subscription is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.commit_lsn is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.ordinal is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.state is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.schema_name is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.table_name is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.action is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.committed_at is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.attempts is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.active_for is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.last_attempt_at is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.last_status is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.last_error is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.replayed is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.columns is 'As in pgstream.webhook_deliveries.';
comment on column pgstream.deliveries.bytes is 'The length of the body.';
