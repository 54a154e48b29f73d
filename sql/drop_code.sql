-- Takes away all that sql/code.sql made, and no table. Fails with 2BP01, listing them, when objects
-- of others depend on a view or function of ours. Tables get back the replica identity that they
-- had before they were lent one; one that is in use keeps what it has, with a warning.
do $$
declare
  v_deadline constant timestamptz := clock_timestamp() + '1s';
  v_lent record;
  v_return text;
  v_policy record;
  v_trigger record;
  v_views text;
  v_functions text;
begin
  drop event trigger if exists pgstream_ddl_command_end;
  drop event trigger if exists pgstream_sql_drop;
  drop event trigger if exists pgstream_table_rewrite;
  drop event trigger if exists pgstream_upkeep;
  drop event trigger if exists pgstream_upkeep_drop;

  if to_regclass('pgstream.lent_identities') is not null and not pgstream._is_moved() then
    for v_lent in
      select c.oid::regclass as rel, l.kind
      from pgstream.lent_identities l
      join pg_class c on c.oid = l.relation::oid and c.relreplident = l.lent
      order by c.oid
    loop
      v_return := format('alter table only %s replica identity %s', v_lent.rel,
        case v_lent.kind when 'd' then 'default' when 'f' then 'full' else 'nothing' end);
      if pgstream._try_lock_table(v_lent.rel, 'access exclusive', false, v_deadline) then
        execute v_return;
      else
        raise warning 'table % is in use, and keeps the replica identity that pgstream has lent it',
          v_lent.rel
          using hint = format('When nobody uses it: %s;', v_return);
      end if;
    end loop;
  end if;

  for v_policy in
    select p.polname, p.polrelid::regclass as rel
    from pg_policy p
    join pg_class c on c.oid = p.polrelid
    where c.relnamespace = 'pgstream'::regnamespace
  loop
    execute format('drop policy %I on %s', v_policy.polname, v_policy.rel);
    execute format('alter table %s disable row level security', v_policy.rel);
  end loop;

  for v_trigger in
    select t.tgname, t.tgrelid::regclass as rel
    from pg_trigger t
    join pg_proc p on p.oid = t.tgfoid
    where p.pronamespace = 'pgstream'::regnamespace and not t.tgisinternal
  loop
    execute format('drop trigger %I on %s', v_trigger.tgname, v_trigger.rel);
  end loop;

  select string_agg(c.oid::regclass::text, ', ') into v_views
  from pg_class c
  where c.relnamespace = 'pgstream'::regnamespace and c.relkind = 'v';
  if v_views is not null then
    execute format('drop view %s', v_views);
  end if;

  select string_agg(p.oid::regprocedure::text, ', ') into v_functions
  from pg_proc p
  where p.pronamespace = 'pgstream'::regnamespace and p.proname not in ('xid', 'xid_encode');
  if v_functions is not null then
    execute format('drop routine %s', v_functions);
  end if;
end
$$;
