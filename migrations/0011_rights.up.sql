-- columns: null shows every column of the table as it was when the event was encoded.
alter table pgstream.webhook_deliveries
  add column columns text[],
  drop constraint state_is_pending_or_dead,
  add constraint state_is_pending_or_dead_or_denied check (state in ('pending', 'dead', 'denied'));

-- serves: the deliveries that may be sent again when a privilege has come back
create index webhook_deliveries_denied on pgstream.webhook_deliveries (subscription)
  where state = 'denied';

create table pgstream.row_security_exemptions (
  relation regclass not null,
  role_name name not null,
  allowed_at timestamptz not null default now(),
  constraint row_security_exemptions_pkey primary key (relation, role_name)
);

-- What pgstream.webhook_subscriptions.secret stands for. Nobody but the runner reads this table,
-- which seals what is in it as soon as it comes by, if it holds a key.
create table pgstream.subscription_secrets (
  id bigint generated always as identity,
  subscription bigint not null,
  secret text not null,
  made_in xid8 not null default pg_current_xact_id(),
  constraint subscription_secrets_pkey primary key (id)
);

-- serves: the secret of a subscription
create index subscription_secrets_by_subscription
  on pgstream.subscription_secrets (subscription, id);

insert into pgstream.subscription_secrets (subscription, secret)
select s.id, s.secret from pgstream.webhook_subscriptions s where s.secret is not null;

alter table pgstream.webhook_subscriptions disable trigger user;

update pgstream.webhook_subscriptions s
set secret = format('kept:%s', k.id)
from pgstream.subscription_secrets k
where k.subscription = s.id;

alter table pgstream.webhook_subscriptions enable trigger user;

-- The plain text of these is read from the log by runners that have not passed them yet.
update pgstream.subscription_changes c
set definition = c.definition || jsonb_build_object('secret', (
  select format('kept:%s', k.id) from pgstream.subscription_secrets k
  where k.subscription = c.subscription))
where c.definition ->> 'secret' is not null;

-- Definitions of the time before subscriptions had an owner.
update pgstream.subscription_changes c
set definition = c.definition || jsonb_build_object('owner', s.owner)
from pgstream.webhook_subscriptions s
where s.id = c.subscription and not c.definition ? 'owner';
