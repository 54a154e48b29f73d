-- The upkeep: what loses its replica identity leaves pgstream_update in the same statement.
--
-- Its event triggers are apart from those of the schema log, which may be switched off: without the
-- upkeep, updates of users fail. It looks at what was touched, and at no more. An identity is lost
-- by:
--
--   ALTER TABLE                    of the table, its parent or its partitioned table
--   CREATE TABLE … PARTITION OF    a partition without an identity of its own
--   DROP INDEX                     a chosen index; it does not tell whose it was
--   DROP … CASCADE                 a column or constraint that goes with something else

create or replace function pgstream._on_upkeep() returns event_trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: the user who runs DDL has no rights on schema pgstream
  set search_path = pg_catalog, pg_temp
  -- else an error that is caught would end the session
  set exit_on_error = off
  set jit = off
as $$
declare
  v_deadline timestamptz;
  v_touched oid[];
  v_left record;
begin
  if tg_event = 'sql_drop' then
    select array_agg(case d.object_type when 'table column' then d.objid
             else to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid
           end) filter (where d.object_type in ('table column', 'table constraint'))
           || case when bool_or(d.object_type = 'index' and (d.original or d.normal)) then
             array(select c.oid from pg_class c where c.relreplident = 'i')
           end
    into v_touched
    from pg_event_trigger_dropped_objects() d
    where not d.is_temporary;
  else
    select array_agg(d.objid) into v_touched
    from pg_event_trigger_ddl_commands() d
    where d.classid = 'pg_class'::regclass and d.object_type in ('table', 'table column')
      and d.schema_name is distinct from 'pg_temp';
  end if;
  -- What it has now is asked for, too, since anybody may say that a change is ours.
  if pgstream._is_own_change(v_touched) and pgstream._has_replica_identity(v_touched[1]) then
    return;
  end if;

  if v_touched is not null then
    v_deadline := pgstream._ddl_deadline();
  end if;
  if tg_event = 'ddl_command_end' then
    -- Of our event triggers, the one of this name is the last to fire.
    perform pgstream._end_ddl_deadline();
  end if;
  if v_touched is null then
    return;
  end if;

  with recursive family as (
    select t.oid from unnest(v_touched) t(oid)
    union
    select h.inhrelid from family f join pg_inherits h on h.inhparent = f.oid
  ), related as (
    select f.oid from family f
    union
    select a.relid from unnest(v_touched) t(oid) cross join pg_partition_ancestors(t.oid) a(relid)
  )
  select array_agg(f.oid) into v_touched
  from related f
  where current_setting('transaction_isolation') in ('repeatable read', 'serializable')
     or exists (
       select from pg_publication_rel r
       join pg_publication p on p.oid = r.prpubid and p.pubname = 'pgstream_update'
       where r.prrelid = f.oid);
  if v_touched is null then
    return;
  end if;

  for v_left in
    select * from pgstream._unpublish_unwritable(v_touched, v_deadline)
  loop
    perform pgstream._record_ddl_error(tg_tag, null, v_left.code, v_left.problem);
  end loop;
exception when others then
  perform pgstream._record_ddl_error(tg_tag, null, sqlstate, sqlerrm);
end
$$;

comment on function pgstream._on_upkeep is
  'Event trigger: takes what has lost its replica identity out of pgstream_update.';
