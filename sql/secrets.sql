-- Secrets can be written and not read. The column of a subscription holds no more than the number
-- of a row of pgstream.subscription_secrets, and so do pgstream.subscription_changes, the log that
-- is made of it, and whatever reads that log.

create or replace function pgstream._keep_secret(
  subscription bigint, owner name, before text, given text
) returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_number constant bigint := substring(given from '^kept:([0-9]{1,18})$')::bigint;
  v_id bigint;
begin
  if given is null or given = before then
    return given;
  elsif v_number is not null then
    -- INSERT ... ON CONFLICT DO UPDATE SET secret = excluded.secret, for a row that is not inserted
    update pgstream.subscription_secrets k
    set subscription = _keep_secret.subscription
    where k.id = v_number
      and k.made_in = pg_current_xact_id()
      and not exists (select from pgstream.webhook_subscriptions s where s.id = k.subscription)
    returning k.id into v_id;
  end if;
  if v_id is null then
    perform pgstream._check_secret(given);
    insert into pgstream.subscription_secrets (subscription, secret)
    values (_keep_secret.subscription, regexp_replace(btrim(given), '\s+', ' ', 'g'))
    returning id into v_id;
  end if;
  return format('kept:%s', v_id);
end
$$;

comment on function pgstream._keep_secret is
  'Stores a secret that was given and returns what stands for it in the subscription.';

create or replace function pgstream._forget_secrets() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may subscribe may not read secrets
  set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from pgstream.subscription_secrets;
  elsif tg_level = 'STATEMENT' then
    -- of rows that were not inserted because of a conflict
    delete from pgstream.subscription_secrets k
    where k.made_in = pg_current_xact_id()
      and not exists (select from pgstream.webhook_subscriptions s where s.id = k.subscription);
  elsif tg_op = 'DELETE' then
    delete from pgstream.subscription_secrets k where k.subscription = old.id;
  else
    delete from pgstream.subscription_secrets k
    where k.subscription = new.id and format('kept:%s', k.id) is distinct from new.secret;
  end if;
  return null;
end
$$;

comment on function pgstream._forget_secrets is
  'Trigger: deletes secrets that no subscription has any more.';

create or replace trigger forget_secrets
  after insert or update or delete on pgstream.webhook_subscriptions
  for each row execute function pgstream._forget_secrets();

create or replace trigger forget_secrets_of_no_row
  after insert on pgstream.webhook_subscriptions
  for each statement execute function pgstream._forget_secrets();

create or replace trigger forget_all_secrets
  after truncate on pgstream.webhook_subscriptions
  for each statement execute function pgstream._forget_secrets();
