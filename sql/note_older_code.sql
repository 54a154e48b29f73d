-- Notes what is ours of the code that stands, for drop_older_code.sql, and where its entry in the
-- catalogs is: whatever is defined again gets another ctid, whichever subtransaction does it.
-- Functions, views and policies of ours carry a comment. What carries none was put beside them by
-- somebody else, as was what belongs to an extension, and stays. A trigger on a table of ours is
-- ours where the function that it calls is. What migrations define for their tables is not noted:
-- the names are those of drop_code.sql.
do $$
begin
  perform set_config('pgstream.older_code', (
    select coalesce(jsonb_agg(o), '[]')::text
    from (
      select 'pg_proc'::regclass::oid as classid, p.oid as objid, p.ctid as entry
      from pg_proc p
      where p.pronamespace = 'pgstream'::regnamespace and p.proname not in ('xid', 'xid_encode')
        and obj_description(p.oid, 'pg_proc') is not null
        and not exists (
          select
          from pg_depend d
          join pg_extension e on e.oid = d.refobjid
          where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
            and e.extname <> 'pgstream')
      union all
      select 'pg_class'::regclass, c.oid, w.ctid
      from pg_class c
      join pg_rewrite w on w.ev_class = c.oid
      where c.relnamespace = 'pgstream'::regnamespace and c.relkind = 'v'
        and obj_description(c.oid, 'pg_class') is not null
      union all
      select 'pg_trigger'::regclass, t.oid, t.ctid
      from pg_trigger t
      join pg_class c on c.oid = t.tgrelid
      join pg_proc p on p.oid = t.tgfoid
      where c.relnamespace = 'pgstream'::regnamespace
        and p.pronamespace = 'pgstream'::regnamespace and not t.tgisinternal
      union all
      select 'pg_policy'::regclass, p.oid, p.ctid
      from pg_policy p
      join pg_class c on c.oid = p.polrelid
      where c.relnamespace = 'pgstream'::regnamespace
        and obj_description(p.oid, 'pg_policy') is not null
    ) o), true);
end
$$;
