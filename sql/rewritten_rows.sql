-- Rows that an ALTER TABLE has changed without an event for any of them are sent again, as a
-- snapshot for each subscription that wants it. The runner asks where the log brings the rewrite,
-- so that the user's own statement neither waits nor fails for it.

create or replace function pgstream._resend_rewritten(rewrites bigint[], relations oid[])
  returns void
  language sql volatile parallel unsafe security definer
  -- definer: a runner need not be able to call what finds tables
  set search_path = pg_catalog, pg_temp
begin atomic
  insert into pgstream.snapshot_requests (schema_name, table_names, subscription, rewrite)
  select n.nspname, array[c.relname::text], s.id, min(r.id)
  from unnest(rewrites, relations) r(id, rel)
  join pg_class c on c.oid = coalesce(pg_partition_root(r.rel), r.rel) and c.relpersistence = 'p'
  join pg_namespace n on n.oid = c.relnamespace
  join pgstream.webhook_subscriptions s
    on s.resend_rewritten and pgstream._wants_inserts(s.id, c.oid)
  group by n.nspname, c.relname, s.id
  on conflict on constraint a_rewrite_asks_once_for_a_subscription do nothing;
end;

comment on function pgstream._resend_rewritten is
  'Asks for the rows of rewritten tables, for each subscription that wants them again; once, '
  'however often it is called for the same rewrites.';
