create or replace view pgstream.webhook_status with (security_barrier) as
with waiting as (
  select d.subscription,
         count(*) filter (where d.state = 'pending') as pending,
         count(*) filter (where d.state = 'dead') as dead,
         count(*) filter (where d.state = 'denied') as denied,
         min(d.committed_at) filter (where d.state = 'pending') as oldest_pending,
         -- the length is known without fetching the body
         sum(octet_length(d.body)) as bytes
  from pgstream.webhook_deliveries d
  group by d.subscription
)
select s.id, s.name, s.url, s.schema_name, s.table_name,
       case
         when not s.enabled and s.disabled_reason is not null then 'disabled'
         when not s.enabled then 'paused'
         when s.invalid_reason is not null then 'invalid'
         when (
           select c.commit_lsn is null
           from pgstream.subscription_changes c
           where c.subscription = s.id
           order by c.id desc
           limit 1
         ) then 'starting'
         when r.state <> 'paused' then r.state
         when w.pending > 0 then 'spilling'
         else 'healthy'
       end as state,
       s.enabled, s.disabled_reason,
       coalesce(r.delivered, 0) as delivered,
       coalesce(w.pending, 0) + coalesce(r.in_memory, 0) as pending,
       coalesce(w.dead, 0) as dead,
       coalesce(r.dropped, 0) as dropped,
       w.oldest_pending,
       coalesce(w.bytes, 0) as spilled_bytes,
       s.spill_quota,
       round(100.0 * coalesce(w.bytes, 0) / nullif(s.spill_quota, 0), 1) as quota_used,
       r.last_success_at, coalesce(s.invalid_reason, r.last_error) as last_error, r.last_error_at,
       r.next_attempt_at, coalesce(w.denied, 0) as denied,
       coalesce(r.evaluation_errors, 0) as evaluation_errors, s.owner,
       array(select h from jsonb_object_keys(s.headers) h order by h) as header_names
from pgstream.webhook_subscriptions s
left join pgstream.subscription_state r on r.subscription = s.id
left join waiting w on w.subscription = s.id
where s.owner = current_user
   or (select has_function_privilege('pgstream._operator()', 'execute'));

comment on view pgstream.webhook_status is
  'How each subscription is doing, one row each: those of the current role, or, to an operator, '
  'all of them.';
comment on column pgstream.webhook_status.id is 'The id in pgstream.webhook_subscriptions.';
comment on column pgstream.webhook_status.name is 'The subscription''s name.';
comment on column pgstream.webhook_status.url is 'Where its events are posted to.';
comment on column pgstream.webhook_status.schema_name is 'The schema that it watches.';
comment on column pgstream.webhook_status.table_name is 'The table that it watches.';
comment on column pgstream.webhook_status.state is
  'starting: no runner has seen its last change yet; healthy; retrying: the last attempts failed; '
  'spilling: events wait in pgstream.webhook_deliveries; paused: enabled is false; disabled: '
  'pgstream has set enabled to false, see disabled_reason; denied: its owner may not read what it '
  'watches, see last_error, and events are kept; invalid: it cannot be followed, see last_error.';
comment on column pgstream.webhook_status.enabled is
  'false while it is paused or disabled. To go on: update pgstream.webhook_subscriptions set '
  'enabled = true where id = ...';
comment on column pgstream.webhook_status.disabled_reason is
  'Why pgstream itself has set enabled to false; null otherwise.';
comment on column pgstream.webhook_status.delivered is 'How many events were accepted.';
comment on column pgstream.webhook_status.pending is
  'How many events wait, in pgstream.webhook_deliveries or in the runner.';
comment on column pgstream.webhook_status.dead is
  'How many deliveries were given up. To try them again: select pgstream.replay(...).';
comment on column pgstream.webhook_status.dropped is
  'How many events were lost at the quota, as on_quota asked for.';
comment on column pgstream.webhook_status.oldest_pending is
  'When the oldest event in pgstream.webhook_deliveries that waits was committed.';
comment on column pgstream.webhook_status.spilled_bytes is
  'The bytes of the bodies that stand in pgstream.webhook_deliveries, waiting or dead.';
comment on column pgstream.webhook_status.spill_quota is 'The most that spilled_bytes may become.';
comment on column pgstream.webhook_status.quota_used is
  'spilled_bytes in percent of spill_quota; null where that is 0.';
comment on column pgstream.webhook_status.last_success_at is 'When an event was last accepted.';
comment on column pgstream.webhook_status.last_error is
  'Why an attempt or an expression last failed.';
comment on column pgstream.webhook_status.last_error_at is 'When an attempt last failed.';
comment on column pgstream.webhook_status.evaluation_errors is
  'How many events its filter or payload has failed for; each stands in '
  'pgstream.webhook_deliveries as dead.';
comment on column pgstream.webhook_status.next_attempt_at is
  'When an endpoint that is left alone is tried again; null while it is not.';
comment on column pgstream.webhook_status.denied is
  'How many deliveries show what the owner may not read any more. They are sent when it may again, '
  'with the header webhook-replay, since newer versions of their rows may have arrived.';
comment on column pgstream.webhook_status.owner is 'The role that it belongs to.';
comment on column pgstream.webhook_status.header_names is
  'The names of the headers that are sent with each request; their values cannot be read.';

create or replace view pgstream.replication_status as
with slots as (
  select s.slot_name, s.active_pid, s.confirmed_flush_lsn, s.restart_lsn, s.wal_status,
         s.safe_wal_size,
         -- the slot may have moved since the end of the log was asked for
         greatest(pg_current_wal_lsn(), s.confirmed_flush_lsn) as written_lsn
  from pg_replication_slots s
  where s.database = current_database()
    and s.plugin in ('pgoutput', 'wal2json')
    and not s.temporary
    and (s.slot_name ^@ 'pgstream_'
         or s.slot_name in (select n.slot_name from pgstream.runner_lease n))
), read as (
  select coalesce(l.slot_name, s.slot_name) as slot_name,
         case
           when s.slot_name is null then 'missing'
           when s.wal_status = 'lost' then 'lost'
           when l.state <> 'stopped' and l.heartbeat_at < clock_timestamp() - interval '3 s'
             then 'silent'
           else coalesce(l.state, 'stopped')
         end as state,
         l.problem, l.holder, l.heartbeat_at, s.active_pid, s.confirmed_flush_lsn,
         l.confirmed_commit_at,
         (s.written_lsn - s.confirmed_flush_lsn)::bigint as lag_bytes,
         (s.written_lsn - s.restart_lsn)::bigint as retained_bytes,
         s.wal_status, s.safe_wal_size
  from pgstream.runner_lease l
  full join slots s on s.slot_name = l.slot_name
)
select r.slot_name, r.state,
       coalesce(r.problem, case r.state
         when 'missing' then 'the slot does not exist: pgstream init makes it, and what was '
           'written before is not sent'
         when 'lost' then 'the server has removed log that the slot needs: drop the slot, then '
           'pgstream init; what was written before is not sent'
         when 'silent' then 'the runner is not heard any more: start pgstream run'
         when 'stopped' then 'no runner reads the slot: start pgstream run'
       end) as problem,
       r.holder, r.heartbeat_at, r.active_pid, r.confirmed_flush_lsn as confirmed_lsn, r.lag_bytes,
       case
         when r.lag_bytes = 0 then 0
         when r.lag_bytes > 0 and r.confirmed_commit_at is not null then greatest(
           round(extract(epoch from clock_timestamp() - r.confirmed_commit_at), 3), 0)
       end as lag_seconds,
       r.retained_bytes, r.wal_status, r.safe_wal_size
from read r;

comment on view pgstream.replication_status is
  'Who reads each slot of pgstream in this database, how far, and what the server keeps for it.';
comment on column pgstream.replication_status.slot_name is 'The replication slot.';
comment on column pgstream.replication_status.state is
  'streaming, reconnecting, halted (see problem), stopped: no runner reads it; silent: its runner '
  'has not been heard for 3 seconds; missing: there is no such slot in this database; lost: the '
  'server has removed log that it needs.';
comment on column pgstream.replication_status.problem is
  'Why nothing is read, and what to do about it; null while all is well.';
comment on column pgstream.replication_status.holder is
  'The host and process of the runner; null where there is none.';
comment on column pgstream.replication_status.heartbeat_at is
  'When the runner was last heard; null where none has ever read the slot.';
comment on column pgstream.replication_status.active_pid is
  'The process of the server that sends the log; null while nobody is connected.';
comment on column pgstream.replication_status.confirmed_lsn is
  'Up to here each event was accepted or stands in pgstream.webhook_deliveries.';
comment on column pgstream.replication_status.lag_bytes is
  'How much log has been written since, other databases and unwatched tables included.';
comment on column pgstream.replication_status.lag_seconds is
  'How old the oldest commit that is not confirmed can be at most; 0 where all is confirmed, null '
  'where it is not known.';
comment on column pgstream.replication_status.retained_bytes is
  'How much log the server keeps for the slot: WAL at risk of filling its disk.';
comment on column pgstream.replication_status.wal_status is
  'reserved; extended: beyond max_wal_size; unreserved: about to be removed; lost. As in '
  'pg_replication_slots.';
comment on column pgstream.replication_status.safe_wal_size is
  'How many bytes can be written before the slot is in danger of being lost; null where '
  'max_slot_wal_keep_size sets no limit.';

create or replace view pgstream.status as
select 'schema changes' as subject,
       case
         when t.enabled = 3 then 'followed'
         when t.enabled = 0 then 'reconciled'
         else 'followed in part'
       end as state,
       case
         when t.enabled = 3 then 'Event triggers log each statement, at its place among the rows.'
         else 'Changes of schemas are found when the runner looks, every 10 s if it is not told '
           'otherwise, or when pgstream.reconcile() is called: several become one version, at the '
           'place where they are found; what is rewritten is not recorded; rows that a new table '
           'gets before are not sent.'
       end as meaning,
       case when t.enabled < 3 then
         'select pgstream.enable_ddl_capture(); as a role that may create event triggers, or '
           'select pgstream.reconcile(); after each change of a schema'
       end as hint
from (
  select count(*) as enabled
  from pg_event_trigger e
  where e.evtname in (
      'pgstream_ddl_command_end', 'pgstream_sql_drop', 'pgstream_table_rewrite')
    and e.evtenabled = 'A'
) t
union all
select 'updates of tables',
       case
         when u.is_kept then 'published'
         when u.is_published then 'published without upkeep'
         else 'skipped'
       end,
       case
         when u.is_kept then 'A table that loses its replica identity leaves the publication in '
           'the same statement.'
         when u.is_published then 'Updates and deletes of a table that loses its replica identity '
           'fail until pgstream.reconcile() has taken it out of the publication.'
         else 'Updates and deletes are not sent.'
       end,
       case
         when u.is_kept then null
         when u.is_published then 'select pgstream.enable_ddl_capture(); as a role that may create '
           'event triggers, or select pgstream.set_updates_without_upkeep(''skip'');'
         else 'select pgstream.enable_ddl_capture(); as a role that may create event triggers, or '
           'select pgstream.set_updates_without_upkeep(''publish'');'
       end
from (
  select pgstream._upkeep_is_on() as is_kept,
         not exists (
           select from pgstream.publication_settings s where s.updates_without_upkeep = 'skip'
         ) as is_published
) u
union all
select 'unfollowed schema changes', count(*)::text,
       case when count(*) > 0
         then 'The schema log may lack their versions; pgstream.ddl_error has the reasons.'
         else 'The schema log lacks nothing that is known of.'
       end,
       case when count(*) > 0 then 'select pgstream.reconcile();' end
from pgstream.ddl_error e
where e.reconciled_at is null;

comment on view pgstream.status is
  'Which way pgstream works in this database, what that costs, and how to change it.';
comment on column pgstream.status.subject is 'What the row is about.';
comment on column pgstream.status.state is
  'Of schema changes: followed, by event triggers; reconciled, when looked for; followed in '
  'part. Of updates: published, with event triggers that keep them from failing; published without '
  'upkeep; skipped. Of unfollowed schema changes: how many.';
comment on column pgstream.status.meaning is 'What follows from it.';
comment on column pgstream.status.hint is 'What to do about it; null while all is well.';
