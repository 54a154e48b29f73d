comment on schema pgstream is
  'Row changes, schema changes and business events as webhooks. Start with '
  'insert into pgstream.webhook_subscriptions (url) values (''https://...'').';

comment on domain pgstream.xid is
  'A 12-byte id as 20 base32hex digits, of the same layout as github.com/rs/xid.';

comment on sequence pgstream.xid_serial is 'The counter part of new xids.';

comment on table pgstream.migrations is 'The migrations that have run, oldest first.';
comment on column pgstream.migrations.id is 'The order in which they ran.';
comment on column pgstream.migrations.name is 'The file, without its ending.';
comment on column pgstream.migrations.run_on is 'When it ran.';

comment on table pgstream.schema_log is
  'Every version of every schema. Inserts are events like any other table''s.';
comment on column pgstream.schema_log.id is 'Identifies the version in the metadata of events.';
comment on column pgstream.schema_log.version is 'Counts from 1 for each schema, without gaps.';
comment on column pgstream.schema_log.schema_name is 'The schema that is described.';
comment on column pgstream.schema_log.schema is
  'The schema''s tables with their columns and keys; {"tables": null} when it has none, and with '
  '"dropped": true when it is gone.';
comment on column pgstream.schema_log.created_at is
  'When the transaction that changed the schema began, in UTC.';
comment on column pgstream.schema_log.acked is
  'Whether a runner that fills in metadata has passed this version in the log.';

comment on table pgstream.table_ids is
  'The lasting id of each live table, the same through renames and moves between schemas.';
comment on column pgstream.table_ids.id is 'The lasting id.';
comment on column pgstream.table_ids.oid is 'The table''s oid in this database.';
comment on column pgstream.table_ids.schema_name is
  'The schema in whose log the table stands.';

comment on table pgstream.ddl_error is
  'What could not be followed when a schema changed. The change itself succeeded; the runner, or '
  'select pgstream.reconcile(), brings log and publications in step. Rows of a table that was not '
  'published in time are not sent.';
comment on column pgstream.ddl_error.id is 'Counts the errors.';
comment on column pgstream.ddl_error.occurred_at is 'When it happened.';
comment on column pgstream.ddl_error.command_tag is 'The statement that was run.';
comment on column pgstream.ddl_error.schema_name is
  'The schema whose version is missing; null where publishing a table failed.';
comment on column pgstream.ddl_error.sqlstate is 'The SQLSTATE of the error.';
comment on column pgstream.ddl_error.message is 'The message of the error.';
comment on column pgstream.ddl_error.reconciled_at is
  'When pgstream.reconcile() has covered it; until then null.';

comment on table pgstream.webhook_subscriptions is
  'Who gets which events. A row acts from its own commit on, a change or delete of it likewise.';
comment on column pgstream.webhook_subscriptions.url is
  'Where each event is posted to: an http or https URL without credentials.';
comment on column pgstream.webhook_subscriptions.schema_name is
  'The schema to watch; * and ? are wildcards, the empty string is every schema.';
comment on column pgstream.webhook_subscriptions.table_name is
  'The table to watch; * and ? are wildcards, the empty string is every table.';
comment on column pgstream.webhook_subscriptions.event_types is
  'Any of I (insert), U (update), D (delete), T (truncate); null or empty is all of them.';
comment on column pgstream.webhook_subscriptions.id is 'Identifies the subscription.';
comment on column pgstream.webhook_subscriptions.name is
  'Tells apart several subscriptions of one URL to the same table.';
comment on column pgstream.webhook_subscriptions.headers is
  'Headers to send with each request, as a JSON object of strings.';
comment on column pgstream.webhook_subscriptions.max_in_flight is
  'How many requests may be under way at once, 1 to 1000; null is the runner''s default. Changes '
  'of one row always follow one another.';
comment on column pgstream.webhook_subscriptions.timeout is
  'How long one attempt may take from connecting to the last byte of the answer, 10 ms to 1 h; '
  'null is the runner''s default.';
comment on column pgstream.webhook_subscriptions.inject_metadata is
  'Whether to fill in the lasting ids of table and columns from the schema log.';
comment on column pgstream.webhook_subscriptions.created_at is
  'When the transaction that subscribed began.';

comment on table pgstream.subscription_changes is
  'Every state that a subscription has had, for runners to read from the log. Not for users.';
comment on column pgstream.subscription_changes.id is 'The order of the changes of a subscription.';
comment on column pgstream.subscription_changes.subscription is
  'The id in pgstream.webhook_subscriptions.';
comment on column pgstream.subscription_changes.definition is
  'The subscription from here on; null when it was deleted.';
comment on column pgstream.subscription_changes.commit_lsn is
  'The end of the commit record of the change; null until a runner has passed it.';
