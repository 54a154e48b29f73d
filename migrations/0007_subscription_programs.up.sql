alter table pgstream.webhook_subscriptions
  add column filter text,
  add column payload text,
  add column format text not null default 'pgstream',
  add column owner name not null default current_user,
  add constraint format_is_known
    check (format in ('pgstream', 'standard', 'cloudevents', 'cloudevents_binary', 'debezium'));
