drop table pgstream.transforms;
alter table pgstream.subscription_state drop column evaluation_errors;
alter table pgstream.webhook_subscriptions
  drop column program,
  drop column invalid_reason;
