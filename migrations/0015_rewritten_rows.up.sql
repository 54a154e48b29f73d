alter table pgstream.webhook_subscriptions
  add column resend_rewritten boolean not null default false;

-- rewrite: the first of the rewrites that the rows are sent again for, of one transaction; null
-- where somebody has asked.
alter table pgstream.snapshot_requests
  add column rewrite bigint,
  add constraint a_rewrite_asks_once_for_a_subscription unique (rewrite, subscription);
