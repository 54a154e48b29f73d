-- setting: the tables as PGSTREAM_POSTGRES_SNAPSHOT_TABLES names them; null where it did not ask.
create table pgstream.snapshot_requests (
  id bigint generated always as identity,
  schema_name text not null default 'public',
  table_names text[] not null,
  subscription bigint,
  chunk_rows integer not null default 1000,
  share real not null default 0.5,
  paused boolean not null default false,
  requested_by name not null default current_user,
  setting text,
  state text not null default 'pending',
  reason text,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz,
  constraint snapshot_requests_pkey primary key (id),
  constraint a_setting_asks_once_of_a_schema unique (setting, schema_name),
  constraint chunk_rows_is_1_to_10000 check (chunk_rows between 1 and 10000),
  constraint share_is_001_to_1 check (share between 0.01::real and 1),
  constraint state_is_that_of_a_snapshot check (state in (
    'pending', 'starting', 'running', 'waiting', 'paused', 'done', 'failed', 'cancelled'))
);

-- serves: the deletion of a subscription
create index snapshot_requests_by_subscription on pgstream.snapshot_requests (subscription)
  where subscription is not null;

-- cursor: the key of the last row that was delivered or stored. Its place in the log is mark_lsn,
-- which the slot is confirmed beyond.
create table pgstream.snapshot_tables (
  request bigint not null,
  oid bigint not null,
  schema_name text not null,
  table_name text not null,
  state text not null default 'pending',
  reason text,
  key_columns text[],
  cursor text[],
  mark_lsn pg_lsn,
  passes integer not null default 0,
  rows_done bigint not null default 0,
  rows_estimated bigint,
  bytes bigint not null default 0,
  started_at timestamptz,
  finished_at timestamptz,
  constraint snapshot_tables_pkey primary key (request, oid),
  constraint tables_go_with_their_snapshot foreign key (request)
    references pgstream.snapshot_requests on delete cascade,
  constraint state_is_that_of_a_table check (state in (
    'pending', 'starting', 'running', 'waiting', 'paused', 'done', 'failed', 'cancelled'))
);

-- What a runner writes at the place of the log at which it hands a chunk out, and takes away again.
create table pgstream.snapshot_marks (
  id uuid not null,
  constraint snapshot_marks_pkey primary key (id)
);
