-- Who reads a slot, and how far it has been read.
create table pgstream.runner_lease (
  slot_name name not null,
  epoch bigint not null default 0,
  holder jsonb,
  heartbeat_at timestamptz not null default '-infinity',
  confirmed_lsn pg_lsn,
  confirmed_commit_at timestamptz,
  state text not null default 'stopped',
  problem text,
  constraint runner_lease_pkey primary key (slot_name)
) with (fillfactor = 50);
