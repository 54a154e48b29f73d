-- What pgstream.emit() writes, and takes away again at once: see sql/emit.sql.
create table pgstream.emitted_events (
  id bigint generated always as identity,
  type text not null,
  key text,
  data jsonb not null,
  constraint emitted_events_pkey primary key (id)
);

alter table pgstream.webhook_deliveries
  add column format text not null default 'pgstream';
