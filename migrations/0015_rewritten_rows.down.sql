alter table pgstream.snapshot_requests drop column if exists rewrite;
alter table pgstream.webhook_subscriptions drop column if exists resend_rewritten;
