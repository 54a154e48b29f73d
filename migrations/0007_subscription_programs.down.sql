alter table pgstream.webhook_subscriptions
  drop column filter,
  drop column payload,
  drop column format,
  drop column owner;
