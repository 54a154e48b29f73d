drop table pgstream.subscription_changes;
drop table pgstream.webhook_subscriptions;
