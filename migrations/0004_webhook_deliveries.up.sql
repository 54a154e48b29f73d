alter table pgstream.webhook_subscriptions
  add column enabled boolean not null default true,
  add column disabled_reason text,
  add column ordering text not null default 'key',
  add column rate integer,
  add column batch_size integer not null default 1,
  add column batch_wait interval not null default '0',
  add column retry_for interval not null default '3 days',
  add column on_exhausted text not null default 'dead_letter',
  add column spill_quota bigint not null default 10737418240,
  add column on_quota text not null default 'hold',
  add column secret text,
  add constraint ordering_is_key_or_strict_or_none
    check (ordering in ('key', 'strict', 'none')),
  add constraint rate_is_between_1_and_100000 check (rate between 1 and 100000),
  add constraint batch_size_is_between_1_and_100 check (batch_size between 1 and 100),
  add constraint batch_wait_is_between_0_and_1_minute
    check (batch_wait between '0' and '1 min'),
  add constraint retry_for_is_between_0_and_30_days
    check (retry_for between '0' and '30 days'),
  add constraint on_exhausted_is_dead_letter_or_block
    check (on_exhausted in ('dead_letter', 'block')),
  add constraint spill_quota_is_not_negative check (spill_quota >= 0),
  add constraint on_quota_is_hold_or_disable_or_drop_oldest
    check (on_quota in ('hold', 'disable', 'drop_oldest'));

create table pgstream.webhook_deliveries (
  webhook_id text not null,
  subscription bigint not null,
  commit_lsn pg_lsn not null,
  ordinal bigint not null,
  state text not null default 'pending',
  schema_name text not null,
  table_name text not null,
  action text not null,
  committed_at timestamptz not null,
  attempts integer not null default 0,
  active_for interval not null default '0',
  last_attempt_at timestamptz,
  last_status integer,
  last_error text,
  replayed boolean not null default false,
  lane_tables bigint[] not null,
  lane_keys integer[] not null,
  barrier boolean not null,
  body text not null,
  constraint webhook_deliveries_pkey primary key (subscription, commit_lsn, ordinal),
  constraint one_delivery_per_webhook_id unique (webhook_id),
  constraint state_is_pending_or_dead check (state in ('pending', 'dead'))
) with (autovacuum_vacuum_scale_factor = 0.02);

-- serves: the dead deliveries of a subscription
create index webhook_deliveries_dead on pgstream.webhook_deliveries (subscription)
  where state = 'dead';

-- What a runner knows of its subscriptions beside the rows that wait.
create table pgstream.subscription_state (
  subscription bigint not null,
  state text not null,
  delivered bigint not null default 0,
  dropped bigint not null default 0,
  in_memory integer not null default 0,
  last_success_at timestamptz,
  last_error text,
  last_error_at timestamptz,
  next_attempt_at timestamptz,
  updated_at timestamptz not null default now(),
  constraint subscription_state_pkey primary key (subscription)
) with (fillfactor = 50);
