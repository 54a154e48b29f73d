alter table pgstream.webhook_subscriptions
  add column store_id bigint,
  add column store_secret text;

-- serves: the subscriptions that come from a store
create unique index webhook_subscriptions_store on pgstream.webhook_subscriptions (store_id)
  where store_id is not null;
