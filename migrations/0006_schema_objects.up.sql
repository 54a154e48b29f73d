-- The event triggers of older code read the column that goes; the new code makes them again.
drop event trigger if exists pgstream_ddl_command_end;
drop event trigger if exists pgstream_sql_drop;

-- What older code has under other arguments or names.
drop function if exists pgstream.sync_publications();
drop function if exists pgstream._sync_publications(boolean);
drop function if exists pgstream._unpublish_unwritable();
drop function if exists pgstream._publication_changes();
drop function if exists pgstream._wanted_tables();
drop function if exists pgstream._try_sync_publications(text);
drop function if exists pgstream._try_lock(text, boolean);
drop function if exists pgstream._record_ddl_error(text, text, text, text);
drop function if exists pgstream._try_log_schema(text, text);
drop function if exists pgstream._log_schema(text, boolean);
drop function if exists pgstream._append_schema(text, jsonb, boolean);
drop function if exists pgstream._schema_json(text);
drop function if exists pgstream._schemas_of(oid, oid);
drop function if exists pgstream._columns_json(oid, pgstream.xid);
drop function if exists pgstream._primary_key_json(oid);
drop function if exists pgstream._logged_tables(text);

alter table pgstream.table_ids
  drop column schema_name,
  add column born bigint,
  add column column_numbers integer[] not null default '{}',
  add column last_column_number integer not null default 0;

create table pgstream.schema_objects (
  schema_name text not null,
  kind text not null,
  key text not null,
  name text not null,
  document jsonb not null,
  parts text[] not null default '{}',
  constraint schema_objects_pkey primary key (schema_name, kind, key),
  constraint a_kind_that_the_schema_log_has
    check (kind in ('tables', 'sequences', 'enum_types', 'materialized_views'))
);

-- serves: the table of an index that is gone, the former children of a table
create index schema_objects_parts on pgstream.schema_objects using gin (parts)
  with (fastupdate = off);

-- serves: where an object stood before
create index schema_objects_key on pgstream.schema_objects (key);

create table pgstream.schema_state (
  only_row boolean not null default true,
  system_identifier bigint not null,
  database_oid bigint not null,
  fingerprint bigint,
  constraint schema_state_pkey primary key (only_row),
  constraint there_is_only_one_row check (only_row)
);

insert into pgstream.schema_state (system_identifier, database_oid)
select c.system_identifier, d.oid::bigint
from pg_control_system() c, pg_database d
where d.datname = current_database();

create table pgstream.table_rewrites (
  id bigint generated always as identity,
  rewritten_at timestamptz not null default clock_timestamp(),
  oid bigint not null,
  table_id text,
  schema_name text not null,
  table_name text not null,
  reason integer not null,
  constraint table_rewrites_pkey primary key (id)
);
