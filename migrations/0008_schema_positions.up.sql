-- What pgstream.schema_log cannot hold: it has the columns that it always had.
create table pgstream.schema_positions (
  schema_name text not null,
  version bigint not null,
  commit_lsn pg_lsn not null,
  constraint schema_positions_pkey primary key (schema_name, version)
);
