-- Everything of pgstream that stores nothing, in the order in which a user meets it.
-- Safe to run again at any time: an upgrade is the new migrations, then this.
set local search_path = pg_catalog, pg_temp;
\ir xid.sql
\ir names.sql
\ir locks.sql
\ir schema_documents.sql
\ir schema_ids.sql
\ir schema_touched.sql
\ir schema_log.sql
\ir schema_history.sql
\ir publications.sql
\ir reconcile.sql
\ir subscriptions.sql
\ir event_triggers.sql
\ir table_rewrites.sql
\ir ddl_capture.sql
\ir status.sql
\ir store.sql
\ir deliveries.sql
\ir foreign_remote.sql
\ir foreign_types.sql
\ir foreign_dependents.sql
\ir foreign_columns.sql
\ir foreign_tables.sql
\ir foreign_matching.sql
\ir foreign_sync.sql
\ir foreign_servers.sql
\ir foreign_import.sql
\ir foreign_status.sql
\ir cached_tables.sql
\ir cached_merge.sql
\ir cached_refresh.sql
\ir comments.sql
\ir foreign_comments.sql
\ir grants.sql
