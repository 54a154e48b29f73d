alter table pgstream.webhook_subscriptions
  drop column store_id,
  drop column store_secret;
