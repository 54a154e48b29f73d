create table pgstream.schema_log (
  id pgstream.xid not null default pgstream.xid(),
  version bigint not null,
  schema_name text not null,
  schema jsonb not null,
  created_at timestamp not null default now(),
  acked boolean not null default false,
  constraint schema_log_pkey primary key (id)
);

-- serves: the last version of a schema; no version twice
create unique index schema_log_version_uniq on pgstream.schema_log (schema_name, version);

-- serves: the versions of a schema that a runner has passed
create index schema_log_name_acked on pgstream.schema_log (schema_name, acked, id);

create table pgstream.table_ids (
  id pgstream.xid not null default pgstream.xid(),
  oid bigint not null,
  schema_name text not null,
  constraint table_ids_pkey primary key (id),
  constraint one_id_per_table unique (oid)
);

create table pgstream.ddl_error (
  id bigint generated always as identity,
  occurred_at timestamptz not null default clock_timestamp(),
  command_tag text not null,
  schema_name text,
  sqlstate text not null,
  message text not null,
  reconciled_at timestamptz,
  constraint ddl_error_pkey primary key (id)
);
