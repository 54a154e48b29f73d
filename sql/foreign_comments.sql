comment on domain pgstream.foreign_text is
  'The text of a value whose type does not exist here. A condition on it is not sent to the '
  'foreign database, where it would mean something else.';

comment on table pgstream.foreign_databases is
  'The databases that were imported. Not for users: see pgstream.foreign_status.';
comment on column pgstream.foreign_databases.server_name is 'The foreign server.';
comment on column pgstream.foreign_databases.remote_schema is 'The schema that is imported.';
comment on column pgstream.foreign_databases.local_schema is 'Where its foreign tables are.';
comment on column pgstream.foreign_databases.table_names is 'Only these tables; null for all.';
comment on column pgstream.foreign_databases.place is
  'Which database that was when its tables were last matched by their oids.';
comment on column pgstream.foreign_databases.remote_version is
  'How many versions its schema log had then; null where no pgstream runs there.';
comment on column pgstream.foreign_databases.imported_at is 'When it was first imported.';
comment on column pgstream.foreign_databases.synced_at is 'When it was last brought in step.';
comment on column pgstream.foreign_databases.last_error is
  'Why pgstream.refresh_due() could not bring it in step.';
comment on column pgstream.foreign_databases.last_error_at is 'When that was.';

comment on table pgstream.foreign_types is
  'The enum types of foreign databases that are mirrored here. Not for users.';
comment on column pgstream.foreign_types.server_name is 'The foreign server.';
comment on column pgstream.foreign_types.remote_oid is 'The oid of the type there.';
comment on column pgstream.foreign_types.type is 'Its mirror here.';
comment on column pgstream.foreign_types.labels is
  'Its labels, in their order, with their oids there.';

comment on table pgstream.foreign_tables is
  'What is known of the tables of foreign databases. Not for users: see pgstream.foreign_status.';
comment on column pgstream.foreign_tables.relation is 'The foreign table.';
comment on column pgstream.foreign_tables.server_name is 'Its foreign server.';
comment on column pgstream.foreign_tables.remote_oid is 'The oid of the table there.';
comment on column pgstream.foreign_tables.remote_name is 'The name of the table there.';
comment on column pgstream.foreign_tables.columns is
  'Its columns: their numbers and names there, and their places in the key.';
comment on column pgstream.foreign_tables.problem is
  'Why it is not what its table is; null when it is.';

comment on table pgstream.cached_tables is
  'The local copies of foreign tables. Made by pgstream.cache_foreign_table(); see '
  'pgstream.cached_status.';
comment on column pgstream.cached_tables.target is 'The copy.';
comment on column pgstream.cached_tables.source is 'What it is a copy of.';
comment on column pgstream.cached_tables.mode is 'table or materialized_view.';
comment on column pgstream.cached_tables.key_columns is 'What tells its rows apart.';
comment on column pgstream.cached_tables.watermark is
  'The column that grows with every change of a row, if any.';
comment on column pgstream.cached_tables.columns is
  'The columns of the source when it was last refreshed.';
comment on column pgstream.cached_tables.refresh_every is
  'How often it is refreshed; null for when somebody does.';
comment on column pgstream.cached_tables.next_refresh_at is 'When it is due.';
comment on column pgstream.cached_tables.refreshed_at is 'As of when its contents are.';
comment on column pgstream.cached_tables.compared_at is 'When all rows were last compared.';
comment on column pgstream.cached_tables.watermark_value is 'The greatest watermark by then.';
comment on column pgstream.cached_tables.duration is 'How long the last refresh took.';
comment on column pgstream.cached_tables.rows_changed is
  'How many rows it wrote; null for a materialized view.';
comment on column pgstream.cached_tables.failures is 'How many refreshes have failed since.';
comment on column pgstream.cached_tables.last_error is 'Why the last one failed.';
comment on column pgstream.cached_tables.last_error_at is 'When it failed.';
