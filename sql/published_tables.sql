-- Which tables the publications are to hold.

create or replace function pgstream._tables_matching(
  schema_names text[], table_names text[], inserts boolean[], updates boolean[], among oid[]
) returns table (rel oid, wants_insert boolean, wants_update boolean)
  language sql stable parallel safe
begin atomic
  with wanted as (
    select t.schema_name, t.table_name,
           bool_or(t.inserts) as inserts, bool_or(t.updates) as updates
    from unnest(schema_names, table_names, _tables_matching.inserts, _tables_matching.updates)
      t(schema_name, table_name, inserts, updates)
    where t.inserts or t.updates
    group by t.schema_name, t.table_name
  ), matched as (
    select n.oid as schema_oid, w.table_name, w.inserts, w.updates
    from wanted w
    join pg_namespace n on n.nspname = w.schema_name
    union all
    select n.oid, w.table_name, w.inserts, w.updates
    from wanted w
    join pg_namespace n on pgstream._name_matches(n.nspname, w.schema_name)
    where pgstream._is_pattern(w.schema_name)
  ), tables as materialized (
    select c.oid as rel, c.relname, c.relnamespace
    from unnest(coalesce(among, array(select r.oid from pg_class r where r.relkind in ('r', 'p'))))
      a(oid)
    join pg_class c on c.oid = a.oid
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
      and c.relpersistence = 'p'
      and not c.relispartition
      and not pgstream.is_system_schema(n.nspname)
      and exists (select from wanted)
  ), found as (
    select t.rel, m.inserts, m.updates
    from tables t
    join matched m on m.schema_oid = t.relnamespace and m.table_name = t.relname
    union all
    select t.rel, m.inserts, m.updates
    from tables t
    join matched m on m.schema_oid = t.relnamespace
    where pgstream._is_pattern(m.table_name) and pgstream._name_matches(t.relname, m.table_name)
  )
  select f.rel, bool_or(f.inserts), bool_or(f.updates)
  from found f
  group by f.rel;
end;

comment on function pgstream._tables_matching is
  'The tables that these patterns are of: permanent ones, partitioned ones by their root. among: '
  'only of these.';

create or replace function pgstream._wanted_tables(among oid[] default null)
  returns table (rel oid, wants_insert boolean, wants_update boolean)
  language sql stable parallel safe
begin atomic
  select m.rel, m.wants_insert, m.wants_update
  from (
    select array_agg(s.schema_name) as schemas, array_agg(s.table_name) as tables,
           array_agg(coalesce(s.event_types = '{}' or s.event_types && '{I,T,*}', true)) as inserts,
           array_agg(coalesce(s.event_types = '{}' or s.event_types && '{U,D,*}', true)) as updates
    from pgstream.webhook_subscriptions s
  ) s
  cross join pgstream._tables_matching(s.schemas, s.tables, s.inserts, s.updates, among) m;
end;

comment on function pgstream._wanted_tables is
  'The tables that a subscription which the caller may see can match. among: only of these.';

create or replace function pgstream._targeted_tables(among oid[] default null)
  returns table (rel oid, wants_insert boolean, wants_update boolean)
  language sql stable parallel safe
begin atomic
  select m.rel, m.wants_insert, m.wants_update
  from (
    select array_agg(t.schema_name) as schemas, array_agg(t.table_name) as tables,
           array_agg(t.wants_insert) as inserts, array_agg(t.wants_update) as updates
    from pgstream.subscription_targets t
  ) t
  cross join pgstream._tables_matching(t.schemas, t.tables, t.inserts, t.updates, among) m;
end;

comment on function pgstream._targeted_tables is
  'The tables that any subscription can match. among: only of these.';

create or replace function pgstream._upkeep_is_on() returns boolean
  language sql stable parallel safe
begin atomic
  select (
      select count(*) = 2
      from pg_event_trigger e
      where e.evtname in ('pgstream_upkeep', 'pgstream_upkeep_drop') and e.evtenabled = 'A')
    -- a setting from 17 on
    and coalesce(current_setting('event_triggers', true), 'on') = 'on'
    and not exists (
      select from pg_db_role_setting s
      cross join unnest(s.setconfig) c(setting)
      where s.setdatabase in (
          0, (select d.oid from pg_database d where d.datname = current_database()))
        and lower(c.setting) ^@ 'event_triggers='
        and lower(split_part(c.setting, '=', 2)) not in ('on', 'true', 'tru', 'tr', 't', 'yes',
                                                         'ye', 'y', '1'));
end;

comment on function pgstream._upkeep_is_on is
  'Whether event triggers take a table that loses its replica identity out of pgstream_update in '
  'the statement that does it, whoever runs it.';

create or replace function pgstream._publishes_updates() returns boolean
  language sql stable parallel safe
  return pgstream._upkeep_is_on() or not exists (
    select from pgstream.publication_settings s where s.updates_without_upkeep = 'skip');

comment on function pgstream._publishes_updates is
  'Whether updates and deletes are published: always where the upkeep is on, else as '
  'pgstream.set_updates_without_upkeep() says.';

create or replace function pgstream._upkeep_advice(out message text, out detail text, out hint text)
  language sql stable parallel safe
begin atomic
  select case when pgstream._publishes_updates()
           then 'without event triggers, updates of a table that loses its replica identity fail'
           else 'without event triggers, updates and deletes are not sent' end,
         case when pgstream._publishes_updates()
           then 'Postgres refuses them until pgstream.reconcile() has taken the table out of '
             'publication pgstream_update.'
           else 'pgstream.set_updates_without_upkeep() has said so.' end,
         format('As a role that may create event triggers: select pgstream.enable_ddl_capture(); '
                'or: select pgstream.set_updates_without_upkeep(%L);',
                case when pgstream._publishes_updates() then 'skip' else 'publish' end)
  where not pgstream._upkeep_is_on();
end;

comment on function pgstream._upkeep_advice is
  'What the lack of the upkeep means for the statements of others; nulls where it is on.';

create or replace function pgstream._publication_changes(among oid[] default null)
  returns table (rel regclass, publication name, wanted boolean, must boolean)
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set jit = off
as $$
declare
  v_updates constant boolean := pgstream._publishes_updates();
  v_inserted oid[];
  v_updated oid[];
  v_published oid[];
  v_refused oid[];
begin
  select array_agg(t.rel) filter (where t.wants_insert),
         array_agg(t.rel) filter (where t.wants_update)
  into v_inserted, v_updated
  from pgstream._targeted_tables(among) t;
  select array_agg(r.prrelid) into v_published
  from pg_publication_rel r
  join pg_publication p on p.oid = r.prpubid and p.pubname = 'pgstream_update'
  where among is null or r.prrelid = any (among);
  select array_agg(x.rel) into v_refused
  from (
    select u.rel from pgstream._unidentified(v_updated || v_published) u
    union
    select u.oid from unnest(v_updated || v_published) u(oid) where not v_updates
  ) x;

  return query
    with targeted as (
      select t.oid as rel, 'pgstream_insert'::name as publication from unnest(v_inserted) t(oid)
      union all
      (select t.oid, 'pgstream_update' from unnest(v_updated) t(oid)
       except
       select x.oid, 'pgstream_update' from unnest(v_refused) x(oid))
    ), published as (
      select r.prrelid as rel, p.pubname as publication
      from pg_publication_rel r
      join pg_publication p on p.oid = r.prpubid
      where p.pubname in ('pgstream_insert', 'pgstream_update')
        and (among is null or r.prrelid = any (among))
    )
    select coalesce(t.rel, p.rel)::regclass,
           coalesce(t.publication, p.publication),
           t.rel is not null,
           p.publication is not distinct from 'pgstream_update' and x.oid is not null
    from targeted t
    full join published p on p.rel = t.rel and p.publication = t.publication
    left join unnest(v_refused) x(oid) on x.oid = p.rel
    where (t.rel is null or p.rel is null)
      and coalesce(t.publication, p.publication) in (select b.pubname from pg_publication b)
    order by 3, 1, 2;
end
$$;

comment on function pgstream._publication_changes is
  'What has to change for the publications to hold the targeted tables, removals first. must: '
  'Postgres would refuse its updates if it stayed, or updates are not published. A table whose '
  'identity is lent has one. among: only of these tables.';
