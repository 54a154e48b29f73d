-- Removes pgstream with psql alone:  psql -f sql/uninstall.sql
-- The slot is not part of the schema, and goes first:
--   select pg_drop_replication_slot('pgstream_<database>_slot');
-- Fails with 2BP01, and changes nothing, when objects of others depend on ours.
\set ON_ERROR_STOP on
\set QUIET on
begin;
set local client_min_messages = warning;
set local search_path = pg_catalog, pg_temp;
drop publication if exists pgstream_control, pgstream_insert, pgstream_update;
\ir drop_code.sql
\ir ../migrations/0017_guest.down.sql
\ir ../migrations/0016_lease_server.down.sql
\ir ../migrations/0015_rewritten_rows.down.sql
\ir ../migrations/0014_snapshots.down.sql
\ir ../migrations/0013_foreign_databases.down.sql
\ir ../migrations/0012_store.down.sql
\ir ../migrations/0011_rights.down.sql
\ir ../migrations/0010_emitted_events.down.sql
\ir ../migrations/0009_subscription_expressions.down.sql
\ir ../migrations/0008_schema_positions.down.sql
\ir ../migrations/0007_subscription_programs.down.sql
\ir ../migrations/0006_schema_objects.down.sql
\ir ../migrations/0005_runner_lease.down.sql
\ir ../migrations/0004_webhook_deliveries.down.sql
\ir ../migrations/0003_webhook_subscriptions.down.sql
\ir ../migrations/0002_schema_log.down.sql
\ir ../migrations/0001_xid.down.sql
drop table pgstream.migrations;
drop schema pgstream;
commit;
\echo pgstream is removed
