create domain pgstream.foreign_text as text;

create table pgstream.foreign_databases (
  server_name text not null,
  remote_schema text not null,
  local_schema text not null,
  table_names text[],
  place text,
  remote_version bigint,
  imported_at timestamptz not null default now(),
  synced_at timestamptz,
  last_error text,
  last_error_at timestamptz,
  constraint foreign_databases_pkey primary key (server_name)
);

create table pgstream.foreign_types (
  server_name text not null,
  remote_oid oid not null,
  type regtype not null,
  labels jsonb not null,
  constraint foreign_types_pkey primary key (server_name, remote_oid),
  constraint foreign_types_go_with_their_database foreign key (server_name)
    references pgstream.foreign_databases on delete cascade
);

create table pgstream.foreign_tables (
  relation regclass not null,
  server_name text not null,
  remote_oid oid not null,
  remote_name text not null,
  columns jsonb not null,
  problem text,
  constraint foreign_tables_pkey primary key (relation),
  constraint foreign_tables_go_with_their_database foreign key (server_name)
    references pgstream.foreign_databases on delete cascade
);

-- serves: the tables of a database
create index foreign_tables_by_server on pgstream.foreign_tables (server_name);

create table pgstream.cached_tables (
  target regclass not null,
  source regclass not null,
  mode text not null,
  key_columns text[] not null,
  watermark text,
  columns jsonb not null default '[]',
  refresh_every interval,
  next_refresh_at timestamptz,
  refreshed_at timestamptz,
  compared_at timestamptz,
  watermark_value text,
  duration interval,
  rows_changed bigint,
  failures integer not null default 0,
  last_error text,
  last_error_at timestamptz,
  constraint cached_tables_pkey primary key (target),
  constraint mode_is_table_or_materialized_view check (mode in ('table', 'materialized_view')),
  constraint key_columns_are_named check (cardinality(key_columns) > 0),
  constraint only_a_table_has_a_watermark check (watermark is null or mode = 'table'),
  constraint refresh_every_is_at_least_a_second check (refresh_every >= '1 second')
);

-- serves: what is due
create index cached_tables_due on pgstream.cached_tables (next_refresh_at)
  where next_refresh_at is not null;
