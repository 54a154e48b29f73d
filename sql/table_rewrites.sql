-- ALTER TABLE … TYPE … USING, or ADD COLUMN with a default that differs from row to row, change
-- values without an event for any row. Each is a row of pgstream.table_rewrites, written before the
-- table is, in the same transaction: who reads the log finds it in its place, and nobody without
-- rights on schema pgstream can forge one.

create or replace function pgstream._on_table_rewrite() returns event_trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: the user who runs DDL has no rights on schema pgstream
  set search_path = pg_catalog, pg_temp
  -- else an error that is caught would end the session
  set exit_on_error = off
  set jit = off
as $$
declare
  v_oid constant oid := pg_event_trigger_table_rewrite_oid();
begin
  if not pgstream._is_logged(v_oid) or pgstream._log_is_skipped() then
    return;
  end if;
  if not pgstream._try_lock_table(
      'pgstream.table_rewrites', 'row exclusive', false, pgstream._ddl_deadline())
    or not pgstream._try_lock_table(
      'pgstream.table_ids', 'access share', false, pgstream._ddl_deadline()) then
    perform pgstream._refuse_locked_tables();
  end if;
  insert into pgstream.table_rewrites (oid, table_id, schema_name, table_name, reason)
  select c.oid::bigint,
         case when current_setting('transaction_isolation') <> 'serializable' then
           (select i.id::text from pgstream.table_ids i where i.oid = c.oid::bigint)
         end,
         n.nspname, c.relname, pg_event_trigger_table_rewrite_reason()
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = v_oid and c.relkind = 'r';
exception when others then
  perform pgstream._record_ddl_error(tg_tag, null, sqlstate, sqlerrm);
end
$$;

comment on function pgstream._on_table_rewrite is
  'Event trigger: records that a table is rewritten, for its values may change.';
