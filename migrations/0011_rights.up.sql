-- columns: null shows every column of the table as it was when the event was encoded.
alter table pgstream.webhook_deliveries
  add column columns text[],
  drop constraint state_is_pending_or_dead,
  add constraint state_is_pending_or_dead_or_denied check (state in ('pending', 'dead', 'denied'));

-- serves: the deliveries that may be sent again when a privilege has come back
create index webhook_deliveries_denied on pgstream.webhook_deliveries (subscription)
  where state = 'denied';

create table pgstream.row_security_exemptions (
  relation regclass not null,
  role_name name not null,
  allowed_at timestamptz not null default now(),
  constraint row_security_exemptions_pkey primary key (relation, role_name)
);
