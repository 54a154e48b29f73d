-- Installs or upgrades pgstream with psql alone:  psql -f sql/install.sql
-- Afterwards:  select pgstream.create_publications();
--              select pg_create_logical_replication_slot('pgstream_<database>_slot', 'pgoutput');
\set ON_ERROR_STOP on
\set QUIET on
begin;
set local client_min_messages = warning;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;
\ir ledger.sql

select not exists (select from pgstream.migrations where name = '0001_xid')
  as pending \gset
\if :pending
  \ir ../migrations/0001_xid.up.sql
  insert into pgstream.migrations (name, run_on) values ('0001_xid', now());
\endif

select not exists (select from pgstream.migrations where name = '0002_schema_log')
  as pending \gset
\if :pending
  \ir ../migrations/0002_schema_log.up.sql
  insert into pgstream.migrations (name, run_on) values ('0002_schema_log', now());
\endif

select not exists (select from pgstream.migrations where name = '0003_webhook_subscriptions')
  as pending \gset
\if :pending
  \ir ../migrations/0003_webhook_subscriptions.up.sql
  insert into pgstream.migrations (name, run_on) values ('0003_webhook_subscriptions', now());
\endif

select not exists (select from pgstream.migrations where name = '0004_webhook_deliveries')
  as pending \gset
\if :pending
  \ir ../migrations/0004_webhook_deliveries.up.sql
  insert into pgstream.migrations (name, run_on) values ('0004_webhook_deliveries', now());
\endif

select not exists (select from pgstream.migrations where name = '0005_runner_lease')
  as pending \gset
\if :pending
  \ir ../migrations/0005_runner_lease.up.sql
  insert into pgstream.migrations (name, run_on) values ('0005_runner_lease', now());
\endif

select not exists (select from pgstream.migrations where name = '0006_schema_objects')
  as pending \gset
\if :pending
  \ir ../migrations/0006_schema_objects.up.sql
  insert into pgstream.migrations (name, run_on) values ('0006_schema_objects', now());
\endif

select not exists (select from pgstream.migrations where name = '0007_subscription_programs')
  as pending \gset
\if :pending
  \ir ../migrations/0007_subscription_programs.up.sql
  insert into pgstream.migrations (name, run_on) values ('0007_subscription_programs', now());
\endif

select not exists (select from pgstream.migrations where name = '0008_schema_positions')
  as pending \gset
\if :pending
  \ir ../migrations/0008_schema_positions.up.sql
  insert into pgstream.migrations (name, run_on) values ('0008_schema_positions', now());
\endif

select not exists (select from pgstream.migrations where name = '0009_subscription_expressions')
  as pending \gset
\if :pending
  \ir ../migrations/0009_subscription_expressions.up.sql
  insert into pgstream.migrations (name, run_on) values ('0009_subscription_expressions', now());
\endif

select not exists (select from pgstream.migrations where name = '0010_emitted_events')
  as pending \gset
\if :pending
  \ir ../migrations/0010_emitted_events.up.sql
  insert into pgstream.migrations (name, run_on) values ('0010_emitted_events', now());
\endif

select not exists (select from pgstream.migrations where name = '0011_rights')
  as pending \gset
\if :pending
  \ir ../migrations/0011_rights.up.sql
  insert into pgstream.migrations (name, run_on) values ('0011_rights', now());
\endif

select not exists (select from pgstream.migrations where name = '0012_store')
  as pending \gset
\if :pending
  \ir ../migrations/0012_store.up.sql
  insert into pgstream.migrations (name, run_on) values ('0012_store', now());
\endif

select not exists (select from pgstream.migrations where name = '0013_foreign_databases')
  as pending \gset
\if :pending
  \ir ../migrations/0013_foreign_databases.up.sql
  insert into pgstream.migrations (name, run_on) values ('0013_foreign_databases', now());
\endif

select not exists (select from pgstream.migrations where name = '0014_snapshots')
  as pending \gset
\if :pending
  \ir ../migrations/0014_snapshots.up.sql
  insert into pgstream.migrations (name, run_on) values ('0014_snapshots', now());
\endif

select not exists (select from pgstream.migrations where name = '0015_rewritten_rows')
  as pending \gset
\if :pending
  \ir ../migrations/0015_rewritten_rows.up.sql
  insert into pgstream.migrations (name, run_on) values ('0015_rewritten_rows', now());
\endif

select not exists (select from pgstream.migrations where name = '0016_lease_server')
  as pending \gset
\if :pending
  \ir ../migrations/0016_lease_server.up.sql
  insert into pgstream.migrations (name, run_on) values ('0016_lease_server', now());
\endif

select not exists (select from pgstream.migrations where name = '0017_guest')
  as pending \gset
\if :pending
  \ir ../migrations/0017_guest.up.sql
  insert into pgstream.migrations (name, run_on) values ('0017_guest', now());
\endif

\ir code.sql
commit;
\echo pgstream is installed
