alter table pgstream.webhook_subscriptions
  add column program jsonb,
  add column invalid_reason text;

alter table pgstream.subscription_state
  add column evaluation_errors bigint not null default 0;

-- Functions by their signatures: a column of type regprocedure would be in the way of pg_upgrade.
create table pgstream.transforms (
  function text not null,
  registered_by name not null default session_user,
  registered_at timestamptz not null default now(),
  constraint transforms_pkey primary key (function)
);
