-- What older code has under other arguments.
drop function if exists pgstream._recheck_programs(oid[]);
drop function if exists pgstream._unpublish_unwritable(oid[]);
drop function if exists pgstream._try_lock_table(regclass, text, boolean, timestamptz);
drop function if exists pgstream.disable_ddl_capture();

-- A transaction that has notified cannot be prepared.
drop trigger if exists notify_snapshots on pgstream.snapshot_requests;
drop function if exists pgstream._notify_snapshots();

-- One row a lock that pgstream._try_lock takes. Small pages, so that their first change after a
-- checkpoint writes little to the log.
create table pgstream.locks (
  id smallint not null,
  constraint locks_pkey primary key (id)
) with (fillfactor = 10);

-- What statements of others need to know of the subscriptions. Who may write subscriptions may lock
-- them; nobody may lock this.
create table pgstream.subscription_targets (
  subscription bigint not null,
  schema_name text not null,
  table_name text not null,
  wants_insert boolean not null,
  wants_update boolean not null,
  has_program boolean not null,
  relation text,
  signature text,
  is_invalid boolean not null,
  constraint subscription_targets_pkey primary key (subscription)
);

-- Tables whose replica identity is one of ours for a while.
create table pgstream.lent_identities (
  relation bigint not null,
  kind "char" not null,
  lent "char" not null,
  lent_at timestamptz not null default clock_timestamp(),
  constraint lent_identities_pkey primary key (relation),
  constraint a_replica_identity_of_postgres check (kind in ('d', 'n', 'i', 'f')),
  constraint what_every_row_has check (lent in ('d', 'f'))
);

create table pgstream.publication_settings (
  only_row boolean not null default true,
  updates_without_upkeep text not null default 'publish',
  constraint publication_settings_pkey primary key (only_row),
  constraint there_is_only_one_row check (only_row),
  constraint updates_are_published_or_skipped
    check (updates_without_upkeep in ('publish', 'skip'))
);

-- Requests to try deliveries at once; a runner looks for them every second.
create table pgstream.replay_requests (
  id bigint generated always as identity,
  subscription bigint not null,
  constraint replay_requests_pkey primary key (id)
);
