create table pgstream.webhook_subscriptions (
  url text not null,
  schema_name text not null default '',
  table_name text not null default '',
  event_types text[],
  id bigint generated always as identity,
  name text not null default '',
  headers jsonb not null default '{}',
  max_in_flight integer,
  timeout interval,
  inject_metadata boolean not null default false,
  created_at timestamptz not null default now(),
  constraint webhook_subscriptions_pkey primary key (id),
  constraint subscribed_already_use_on_conflict_do_update
    unique (url, schema_name, table_name, name),
  constraint max_in_flight_is_between_1_and_1000 check (max_in_flight between 1 and 1000),
  constraint timeout_is_between_10ms_and_1h check (timeout between '10 ms' and '1 h')
);

-- Every state that a subscription has had, in the order of its changes. Runners read this table
-- from the log, so that a change acts at its own commit, and never webhook_subscriptions itself.
create table pgstream.subscription_changes (
  id bigint generated always as identity,
  subscription bigint not null,
  definition jsonb,
  commit_lsn pg_lsn,
  constraint subscription_changes_pkey primary key (id)
);

-- serves: the changes that no runner has passed yet
create index subscription_changes_unpassed on pgstream.subscription_changes (id)
  where commit_lsn is null;

-- serves: the last state of each subscription
create index subscription_changes_by_subscription
  on pgstream.subscription_changes (subscription, id);
