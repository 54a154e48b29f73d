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
\ir event_types.sql
\ir rights.sql
\ir addresses.sql
\ir expressions.sql
\ir expression_checks.sql
\ir programs.sql
\ir transforms.sql
\ir subscriptions.sql
\ir secrets.sql
\ir row_security.sql
\ir emit.sql
\ir event_triggers.sql
\ir table_rewrites.sql
\ir ddl_capture.sql
\ir preview.sql
\ir status.sql
\ir store.sql
\ir deliveries.sql
\ir roles.sql
\ir comments.sql
\ir grants.sql
