drop table pgstream.row_security_exemptions;

update pgstream.webhook_deliveries set state = 'pending' where state = 'denied';

alter table pgstream.webhook_deliveries
  drop constraint state_is_pending_or_dead_or_denied,
  drop column columns,
  add constraint state_is_pending_or_dead check (state in ('pending', 'dead'));

drop index pgstream.webhook_deliveries_denied;
