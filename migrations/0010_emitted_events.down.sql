alter table pgstream.webhook_deliveries drop column format;

drop table pgstream.emitted_events;
