comment on schema pgstream is
  'Row changes, schema changes and business events as webhooks. Start with '
  'insert into pgstream.webhook_subscriptions (url) values (''https://...'').';

comment on domain pgstream.xid is
  'A 12-byte id as 20 base32hex digits, of the same layout as github.com/rs/xid.';

comment on sequence pgstream.xid_serial is 'The counter part of new xids.';

comment on column pgstream.migrations.id is 'The order in which they ran.';
comment on column pgstream.migrations.name is 'The file, without its ending.';
comment on column pgstream.migrations.run_on is 'When it ran.';

comment on table pgstream.schema_log is
  'Every version of every schema. Inserts are events like any other table''s.';
comment on column pgstream.schema_log.id is 'Identifies the version in the metadata of events.';
comment on column pgstream.schema_log.version is 'Counts from 1 for each schema, without gaps.';
comment on column pgstream.schema_log.schema_name is 'The schema that is described.';
comment on column pgstream.schema_log.schema is
  'The schema''s tables with their columns, keys and indexes, its sequences, enum types and '
  'materialized views; {"tables": null} when it has no table, and with "dropped": true when it is '
  'gone. With "partial": true only what has changed since the version before, see '
  'pgstream.schema_at().';
comment on column pgstream.schema_log.created_at is
  'When the transaction that changed the schema began, in UTC.';
comment on column pgstream.schema_log.acked is
  'Whether a runner that fills in metadata has passed this version in the log.';

comment on table pgstream.table_ids is
  'The lasting id of each live table, the same through renames and moves between schemas.';
comment on column pgstream.table_ids.id is 'The lasting id.';
comment on column pgstream.table_ids.oid is 'The table''s oid in this database.';
comment on column pgstream.table_ids.born is
  'The transaction in which it was made; tells it from a later table of the same oid.';
comment on column pgstream.table_ids.column_numbers is
  'The number in the id of each column, by its attnum.';
comment on column pgstream.table_ids.last_column_number is
  'The highest number that a column of the table has had.';

comment on table pgstream.schema_objects is
  'What the last version of each schema says, one row an object. Not for users: read '
  'pgstream.schema_at().';
comment on column pgstream.schema_objects.schema_name is 'The schema in whose log it stands.';
comment on column pgstream.schema_objects.kind is 'The list of the version that it stands in.';
comment on column pgstream.schema_objects.key is 'The id of a table, the oid of anything else.';
comment on column pgstream.schema_objects.name is 'Its name when it was logged.';
comment on column pgstream.schema_objects.document is 'What the version says of it.';
comment on column pgstream.schema_objects.parts is
  'The names of its indexes and the oids of its parents when it was logged.';

comment on table pgstream.schema_state is
  'Which database the ids belong to, and when log and catalogs were last the same. One row, not '
  'for users.';
comment on column pgstream.schema_state.only_row is 'Always true.';
comment on column pgstream.schema_state.system_identifier is
  'The cluster; in another one, tables are found again by their names.';
comment on column pgstream.schema_state.database_oid is
  'The database, and above its 32 bits the oid of this table; likewise.';
comment on column pgstream.schema_state.fingerprint is
  'What told that the catalogs had not changed since the last reconcile().';

comment on table pgstream.locks is
  'The locks that pgstream._try_lock() takes: rows that are locked, never changed.';
comment on column pgstream.locks.id is 'As in pgstream._lock_id().';

comment on table pgstream.subscription_targets is
  'What statements of others need to know of the subscriptions, in a table that nobody else may '
  'lock. Not for users.';
comment on column pgstream.subscription_targets.subscription is
  'The id in pgstream.webhook_subscriptions.';
comment on column pgstream.subscription_targets.schema_name is 'As there.';
comment on column pgstream.subscription_targets.table_name is 'As there.';
comment on column pgstream.subscription_targets.wants_insert is
  'Whether it is to inserts or truncates.';
comment on column pgstream.subscription_targets.wants_update is
  'Whether it is to updates or deletes.';
comment on column pgstream.subscription_targets.has_program is
  'Whether it has a filter or a payload.';
comment on column pgstream.subscription_targets.relation is
  'The oid of the table that these were checked against.';
comment on column pgstream.subscription_targets.signature is
  'What the table was like when they were checked.';
comment on column pgstream.subscription_targets.is_invalid is
  'Whether they do not fit the table any more.';

comment on table pgstream.lent_identities is
  'Tables whose replica identity is one of ours until pgstream.reconcile() has taken them out of '
  'pgstream_update. Not for users.';
comment on column pgstream.lent_identities.relation is 'The oid of the table.';
comment on column pgstream.lent_identities.kind is 'Its own identity, as in pg_class.relreplident.';
comment on column pgstream.lent_identities.lent is 'What it has for now, likewise.';
comment on column pgstream.lent_identities.lent_at is 'Since when.';

comment on table pgstream.publication_settings is
  'What pgstream.set_updates_without_upkeep() has been told. At most one row.';
comment on column pgstream.publication_settings.only_row is 'Always true.';
comment on column pgstream.publication_settings.updates_without_upkeep is
  'publish or skip, as there.';

comment on table pgstream.replay_requests is
  'Subscriptions whose deliveries are to be tried at once; a runner removes what it has seen.';
comment on column pgstream.replay_requests.id is 'Identifies the request.';
comment on column pgstream.replay_requests.subscription is
  'The id in pgstream.webhook_subscriptions.';

comment on table pgstream.schema_positions is
  'Where runners have passed the versions of the schema log, so that one that starts knows which '
  'of them hold at its place. Not for users.';
comment on column pgstream.schema_positions.schema_name is 'As in pgstream.schema_log.';
comment on column pgstream.schema_positions.version is
  'As in pgstream.schema_log; those before it are passed too.';
comment on column pgstream.schema_positions.commit_lsn is
  'The end of the commit record of the version; of one that is older than the slot, where that '
  'was first read.';

comment on table pgstream.table_rewrites is
  'Statements that can have changed the rows of a table without an event for any of them.';
comment on column pgstream.table_rewrites.id is 'Counts the rewrites.';
comment on column pgstream.table_rewrites.rewritten_at is 'When it was about to happen.';
comment on column pgstream.table_rewrites.oid is 'The table''s oid; of a partition, its own.';
comment on column pgstream.table_rewrites.table_id is
  'The table''s lasting id; null where it has none yet.';
comment on column pgstream.table_rewrites.schema_name is 'The table''s schema at that moment.';
comment on column pgstream.table_rewrites.table_name is 'The table''s name at that moment.';
comment on column pgstream.table_rewrites.reason is
  'The sum of 1: made logged or unlogged, 2: a new column or its default, 4: another type of a '
  'column, 8: another access method.';

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
  'Any of I (insert), U (update), D (delete), T (truncate), of which null or empty is all, and '
  'of types of business events, e.g. order.paid or order.*; * is everything.';
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
comment on column pgstream.webhook_subscriptions.resend_rewritten is
  'Whether the rows of a table come again, as inserts, after an ALTER TABLE that has changed their '
  'values without an event for any of them.';
comment on column pgstream.webhook_subscriptions.enabled is
  'false pauses: nothing is sent, and events are kept up to spill_quota.';
comment on column pgstream.webhook_subscriptions.disabled_reason is
  'Why pgstream itself has set enabled to false; null otherwise.';
comment on column pgstream.webhook_subscriptions.ordering is
  'key: changes of one row arrive in order, others side by side; strict: one request at a time, '
  'in the order of the commits; none: in any order.';
comment on column pgstream.webhook_subscriptions.rate is
  'The most requests a second, 1 to 100000; null is no limit.';
comment on column pgstream.webhook_subscriptions.batch_size is
  'Above 1, a request carries a JSON array of up to so many events; at most 100.';
comment on column pgstream.webhook_subscriptions.batch_wait is
  'How long a batch that is not full waits for more events, up to 1 minute.';
comment on column pgstream.webhook_subscriptions.retry_for is
  'How long a delivery is tried again, counted from its first attempt and not while the endpoint '
  'as a whole is left alone; up to 30 days.';
comment on column pgstream.webhook_subscriptions.on_exhausted is
  'What happens after retry_for: dead_letter sets the delivery aside until somebody replays or '
  'deletes it; block keeps trying, and keeps later changes of the row waiting.';
comment on column pgstream.webhook_subscriptions.spill_quota is
  'The most bytes of bodies that may stand in pgstream.webhook_deliveries, waiting or dead.';
comment on column pgstream.webhook_subscriptions.on_quota is
  'What happens at the quota. hold: the slot is not confirmed further, and the server keeps its '
  'log. disable: enabled becomes false, and what does not fit is lost. drop_oldest: the oldest '
  'that wait are lost. webhook_status counts what is lost.';
comment on column pgstream.webhook_subscriptions.secret is
  'Signs each request as Standard Webhooks has it: whsec_ and base64 (HMAC-SHA256) or whsk_ and '
  'base64 (ed25519); several, separated by spaces, while one replaces the other. Can be written, '
  'not read: what stands here is the number of a row of pgstream.subscription_secrets.';
comment on column pgstream.webhook_subscriptions.filter is
  'A boolean SQL expression over new, old and op, e.g. new.total > 100; null: every event.';
comment on column pgstream.webhook_subscriptions.payload is
  'A SQL expression over new, old and op that yields jsonb, which is sent; null: the whole event.';
comment on column pgstream.webhook_subscriptions.program is
  'What runners evaluate for filter and payload: written by pgstream when these are checked.';
comment on column pgstream.webhook_subscriptions.invalid_reason is
  'Why filter or payload do not fit the table any more; null while they do. Events are kept as '
  'dead deliveries meanwhile.';
comment on column pgstream.webhook_subscriptions.format is
  'The shape of a request: pgstream, standard, cloudevents, cloudevents_binary or debezium.';
comment on column pgstream.webhook_subscriptions.owner is
  'The role that made the subscription, and whose privileges decide what it is sent.';
comment on column pgstream.webhook_subscriptions.store_id is
  'Its id in the store, if it is a copy of one that is kept in another database; null if not.';
comment on column pgstream.webhook_subscriptions.store_secret is
  'What stands for its secret in the store.';
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

comment on table pgstream.webhook_deliveries is
  'Every delivery that waits for its endpoint (pending) or has been given up (dead), with its '
  'body. Delete a row to skip it; pgstream.replay() tries again.';
comment on column pgstream.webhook_deliveries.webhook_id is
  'The webhook-id of each attempt, and of no other event.';
comment on column pgstream.webhook_deliveries.subscription is
  'The id in pgstream.webhook_subscriptions.';
comment on column pgstream.webhook_deliveries.commit_lsn is
  'The position of the event''s commit record; 0/0 for those that came from another server.';
comment on column pgstream.webhook_deliveries.ordinal is
  'The place of the event in its transaction.';
comment on column pgstream.webhook_deliveries.state is
  'pending: waits for its turn or its next attempt; dead: is not tried any more; denied: shows '
  'what the owner of the subscription may not read any more, and waits until it may.';
comment on column pgstream.webhook_deliveries.schema_name is
  'The schema of the event''s table; empty for a business event.';
comment on column pgstream.webhook_deliveries.table_name is
  'The event''s table; empty for a business event.';
comment on column pgstream.webhook_deliveries.action is
  'I, U, D or T; the type of a business event.';
comment on column pgstream.webhook_deliveries.committed_at is
  'When the event''s transaction was committed.';
comment on column pgstream.webhook_deliveries.attempts is 'How often it was sent, so far in vain.';
comment on column pgstream.webhook_deliveries.active_for is
  'How long it has been tried, of the subscription''s retry_for.';
comment on column pgstream.webhook_deliveries.last_attempt_at is 'When it was last sent.';
comment on column pgstream.webhook_deliveries.last_status is
  'The HTTP status of the last answer; null when there was none.';
comment on column pgstream.webhook_deliveries.last_error is 'Why the last attempt did not count.';
comment on column pgstream.webhook_deliveries.replayed is
  'Whether it was dead once: it is sent with the header webhook-replay, since newer versions of '
  'its row may have arrived before it.';
comment on column pgstream.webhook_deliveries.lane_tables is
  'The tables whose barriers it keeps to, by oid.';
comment on column pgstream.webhook_deliveries.lane_keys is
  'Hashes of the keys of its row, before and after.';
comment on column pgstream.webhook_deliveries.columns is
  'The columns that the body shows; null where it shows all that the table had.';
comment on column pgstream.webhook_deliveries.barrier is
  'Whether it waits for all earlier events of its tables, and all later ones for it.';
comment on column pgstream.webhook_deliveries.format is
  'The shape of the body, which is sent with the headers of that shape.';
comment on column pgstream.webhook_deliveries.body is
  'What is sent, byte for byte, alone or in a batch.';

comment on table pgstream.subscription_secrets is
  'The secrets of subscriptions, for the runner alone, which seals them with its key.';
comment on column pgstream.subscription_secrets.id is
  'The number that stands for it in the subscription.';
comment on column pgstream.subscription_secrets.subscription is
  'The id in pgstream.webhook_subscriptions.';
comment on column pgstream.subscription_secrets.secret is
  'As it was given, or sealed:v1:, the id of the key, and what only its holder can open.';
comment on column pgstream.subscription_secrets.made_in is 'The transaction that gave it.';

comment on table pgstream.row_security_exemptions is
  'Whose subscriptions may be sent all rows of a table with row-level security; see '
  'pgstream.allow_rls().';
comment on column pgstream.row_security_exemptions.relation is 'The table.';
comment on column pgstream.row_security_exemptions.role_name is 'The owner of subscriptions.';
comment on column pgstream.row_security_exemptions.allowed_at is 'When it was allowed.';

comment on table pgstream.subscription_state is
  'What the runner knows of each subscription, written about once a second. Read '
  'pgstream.webhook_status.';
comment on column pgstream.subscription_state.subscription is
  'The id in pgstream.webhook_subscriptions.';
comment on column pgstream.subscription_state.state is
  'healthy, retrying, spilling, paused, denied or invalid.';
comment on column pgstream.subscription_state.delivered is 'How many events were accepted.';
comment on column pgstream.subscription_state.dropped is
  'How many events were lost at the quota, as on_quota asked for.';
comment on column pgstream.subscription_state.evaluation_errors is
  'How many events its filter or payload has failed for.';
comment on column pgstream.subscription_state.in_memory is
  'How many events wait in the runner alone.';
comment on column pgstream.subscription_state.last_success_at is
  'When an event was last accepted.';
comment on column pgstream.subscription_state.last_error is 'Why an attempt last failed.';
comment on column pgstream.subscription_state.last_error_at is 'When an attempt last failed.';
comment on column pgstream.subscription_state.next_attempt_at is
  'When an endpoint that is left alone is tried again; null while it is not.';
comment on column pgstream.subscription_state.updated_at is 'When the runner last wrote the row.';

comment on table pgstream.runner_lease is
  'Who reads a slot, and how far. One row a slot; read pgstream.replication_status.';
comment on column pgstream.runner_lease.slot_name is 'The replication slot.';
comment on column pgstream.runner_lease.epoch is
  'Counts the runners that have read the slot; whatever an earlier one still tries to write is '
  'refused.';
comment on column pgstream.runner_lease.holder is 'The host and process of the present one.';
comment on column pgstream.runner_lease.heartbeat_at is
  'When it was last heard; after 3 seconds of silence another runner takes over.';
comment on column pgstream.runner_lease.confirmed_lsn is
  'The position that it has confirmed, or is about to. A slot beyond it was moved by somebody '
  'else.';
comment on column pgstream.runner_lease.system_identifier is
  'The server whose log confirmed_lsn is a position of, as in pg_control_system(); on another one, '
  'where a dump was restored, it means nothing, and the runner halts until pgstream init.';
comment on column pgstream.runner_lease.confirmed_commit_at is
  'All that was committed before it is confirmed: the commit time of the last confirmed '
  'transaction, or the time of a later heartbeat whose place in the log is confirmed.';
comment on column pgstream.runner_lease.state is
  'starting, waiting (for the slot), streaming, reconnecting, halted (see problem), or stopped.';
comment on column pgstream.runner_lease.problem is
  'Why nothing is read, and what to do about it; null while all is well.';

comment on table pgstream.transforms is
  'The functions that expressions of subscriptions may call; see pgstream.register_transform().';
comment on column pgstream.transforms.function is 'The function with its argument types.';
comment on column pgstream.transforms.registered_by is 'Who has declared it to be deterministic.';
comment on column pgstream.transforms.registered_at is 'When that was.';
