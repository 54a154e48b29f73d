create or replace view pgstream.snapshot_status with (security_barrier) as
select r.id as request, r.subscription, t.schema_name, t.table_name,
       case when r.state = 'cancelled' and t.state not in ('done', 'failed') then 'cancelled'
         when r.paused and t.state not in ('done', 'failed') then 'paused'
         else t.state end as state,
       case when t.state = 'done' then 100
         else least(99, floor(100.0 * t.rows_done / nullif(t.rows_estimated, 0)))::integer
       end as percent,
       t.rows_done, t.rows_estimated, t.bytes, t.reason, r.requested_by, r.created_at,
       t.started_at, t.finished_at
from pgstream.snapshot_requests r
join pgstream.snapshot_tables t on t.request = r.id
where r.requested_by = current_user
   or (select has_function_privilege('pgstream._operator()', 'execute'));

comment on view pgstream.snapshot_status is
  'How far snapshots have come, one row a table: those that the current role has asked for, or, to '
  'an operator, all.';
comment on column pgstream.snapshot_status.request is 'As in pgstream.snapshot_requests.id.';
comment on column pgstream.snapshot_status.subscription is 'As in pgstream.snapshot_requests.';
comment on column pgstream.snapshot_status.schema_name is 'As in pgstream.snapshot_tables.';
comment on column pgstream.snapshot_status.table_name is 'As in pgstream.snapshot_tables.';
comment on column pgstream.snapshot_status.state is
  'That of the table, unless the request is paused or cancelled.';
comment on column pgstream.snapshot_status.percent is
  'The share of the estimated rows that is delivered; null where nothing is known yet.';
comment on column pgstream.snapshot_status.rows_done is 'As in pgstream.snapshot_tables.';
comment on column pgstream.snapshot_status.rows_estimated is 'As in pgstream.snapshot_tables.';
comment on column pgstream.snapshot_status.bytes is 'As in pgstream.snapshot_tables.';
comment on column pgstream.snapshot_status.reason is 'As in pgstream.snapshot_tables.';
comment on column pgstream.snapshot_status.requested_by is 'As in pgstream.snapshot_requests.';
comment on column pgstream.snapshot_status.created_at is 'As in pgstream.snapshot_requests.';
comment on column pgstream.snapshot_status.started_at is 'As in pgstream.snapshot_tables.';
comment on column pgstream.snapshot_status.finished_at is 'As in pgstream.snapshot_tables.';

comment on table pgstream.snapshot_requests is
  'Requests for the rows that tables hold already, delivered as inserts beside the stream: insert '
  'into pgstream.snapshot_requests (schema_name, table_names) values (''app'', ''{orders}''). '
  'Delete a row to cancel it. How far it has come: pgstream.snapshot_status.';
comment on column pgstream.snapshot_requests.id is 'Identifies the request.';
comment on column pgstream.snapshot_requests.schema_name is
  'The schema of the tables; * and ? are wildcards.';
comment on column pgstream.snapshot_requests.table_names is
  'The tables; * and ? are wildcards for those that there are when the request is made.';
comment on column pgstream.snapshot_requests.subscription is
  'Who is sent the rows; null for all that are sent inserts of the tables.';
comment on column pgstream.snapshot_requests.chunk_rows is
  'How many rows are read at a time, at most.';
comment on column pgstream.snapshot_requests.share is
  'The share of the time for which it may be at work; for the rest it pauses.';
comment on column pgstream.snapshot_requests.paused is
  'True halts it behind the chunk that is under way; false lets it go on.';
comment on column pgstream.snapshot_requests.requested_by is 'The role that asked.';
comment on column pgstream.snapshot_requests.rewrite is
  'The first of the rows of pgstream.table_rewrites that made this; null where somebody has asked.';
comment on column pgstream.snapshot_requests.setting is
  'The tables as PGSTREAM_POSTGRES_SNAPSHOT_TABLES names them; null where it did not ask.';
comment on column pgstream.snapshot_requests.state is
  'pending, starting (older transactions have to end first), running, waiting (for the reason), '
  'paused, done, failed or cancelled.';
comment on column pgstream.snapshot_requests.reason is
  'Why it waits, has failed, or had nothing to do.';
comment on column pgstream.snapshot_requests.created_at is
  'When it was made; the timestamp of its events.';
comment on column pgstream.snapshot_requests.started_at is 'When a runner began with it.';
comment on column pgstream.snapshot_requests.finished_at is 'When it was done or had failed.';

comment on table pgstream.snapshot_tables is 'The tables of each request. Written by the runner.';
comment on column pgstream.snapshot_tables.request is 'The request.';
comment on column pgstream.snapshot_tables.oid is 'The table''s oid.';
comment on column pgstream.snapshot_tables.schema_name is 'Its schema when the request was made.';
comment on column pgstream.snapshot_tables.table_name is 'Its name when the request was made.';
comment on column pgstream.snapshot_tables.state is 'As in pgstream.snapshot_requests.';
comment on column pgstream.snapshot_tables.reason is 'As in pgstream.snapshot_requests.';
comment on column pgstream.snapshot_tables.key_columns is
  'The columns, with type and collation, that its rows are read in the order of; empty where there '
  'is no usable key.';
comment on column pgstream.snapshot_tables.cursor is
  'Their values in the last row that is delivered: what comes next is greater.';
comment on column pgstream.snapshot_tables.mark_lsn is
  'Where in the log that row was handed out; the slot is confirmed beyond it.';
comment on column pgstream.snapshot_tables.passes is
  'How often it was begun from the first row, where it has no usable key.';
comment on column pgstream.snapshot_tables.rows_done is 'Rows up to the cursor.';
comment on column pgstream.snapshot_tables.rows_estimated is 'What the planner expected of it.';
comment on column pgstream.snapshot_tables.bytes is 'Bytes of these rows as text.';
comment on column pgstream.snapshot_tables.started_at is 'When the runner began with it.';
comment on column pgstream.snapshot_tables.finished_at is 'When it was done or had failed.';

comment on table pgstream.snapshot_marks is
  'What the runner writes where in the log it hands rows out, and takes away at once: always '
  'empty.';
comment on column pgstream.snapshot_marks.id is 'Tells marks apart.';
