-- Bringing the log in step with the catalogs, for what was changed unseen: with pgstream.skip_log,
-- without event triggers, under a lock that was held for too long.
--
-- All there is gets compared without a lock; only what differs is locked and logged. When nothing
-- has been written to the catalogs since the last time, which one number tells, not even that.

create or replace function pgstream._catalog_fingerprint() returns bigint
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  with relations as materialized (
    select c.oid, c.xmin
    from pg_class c
    where c.oid >= 16384 and c.relkind in ('r', 'p', 'm', 'S', 'i', 'I', 'v', 'c')
      and c.relpersistence <> 't'
  ), entries (id, written_by) as (
    select r.oid, r.xmin from relations r
    union all
    select a.attrelid, a.xmin
    from pg_attribute a
    where a.attnum > 0 and a.attrelid >= 16384 and a.attrelid in (select r.oid from relations r)
    union all
    select d.oid, d.xmin from pg_attrdef d where d.adrelid in (select r.oid from relations r)
    union all
    select k.oid, k.xmin
    from pg_constraint k
    where k.oid >= 16384 and (k.conrelid = 0 or k.conrelid in (select r.oid from relations r))
    union all
    select i.indexrelid, i.xmin
    from pg_index i
    where i.indexrelid in (select r.oid from relations r)
    union all
    select h.inhrelid, h.xmin from pg_inherits h where h.inhrelid in (select r.oid from relations r)
    union all
    select s.seqrelid, s.xmin from pg_sequence s where s.seqrelid in (select r.oid from relations r)
    union all
    select t.oid, t.xmin
    from pg_type t
    where t.oid >= 16384 and t.typrelid = 0 and t.typelem = 0
    union all
    select e.oid, e.xmin from pg_enum e
    union all
    select n.oid, n.xmin from pg_namespace n where not pgstream.is_system_schema(n.nspname)
    union all
    select p.oid, p.xmin from pg_proc p where p.oid >= 16384
    union all
    select w.oid, w.xmin from pg_rewrite w where w.ev_class in (select r.oid from relations r)
    union all
    select d.objoid, d.xmin
    from pg_description d
    where d.objoid >= 16384 and (
      d.classoid <> 'pg_class'::regclass or d.objoid in (select r.oid from relations r))
  )
  select coalesce(bit_xor(hashtextextended(e.written_by::text, e.id::bigint)), 0)
           # (count(*) << 40)
  from entries e
$$;

comment on function pgstream._catalog_fingerprint is
  'A number that changes with whatever the schema log describes: which transactions wrote the '
  'entries of the catalogs.';

create or replace function pgstream._differences(schema_name text)
  returns table (oids oid[], keys text[])
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  with present as materialized (
    select o.kind, o.key, o.document
    from pgstream._objects(pgstream._oids_in(_differences.schema_name)) o
  ), stored as materialized (
    select s.kind, s.key, s.document
    from pgstream.schema_objects s
    where s.schema_name = _differences.schema_name
  )
  select array_agg((p.document ->> 'oid')::oid) filter (where p.key is not null),
         coalesce(array_agg(s.key) filter (where s.key is not null), '{}')
  from present p
  full join stored s on s.kind = p.kind and s.key = p.key
  where p.document is distinct from s.document
  having count(*) > 0
$$;

comment on function pgstream._differences is
  'What differs between a schema and its last version: objects that are there, and keys that are '
  'stored. Tables without an id are left out.';

create or replace function pgstream._reconcile_schema(schema_name text, deadline timestamptz)
  returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_exists constant boolean := exists (
    select from pg_namespace n where n.nspname = schema_name);
  v_oids oid[];
  v_keys text[];
begin
  select d.oids, d.keys into v_oids, v_keys from pgstream._differences(schema_name) d;
  v_oids := coalesce(v_oids, '{}') || pgstream._tables_without_id(schema_name);
  v_keys := coalesce(v_keys, '{}') || pgstream._keys(v_oids);
  if v_keys = '{}' and pgstream._is_logged_as_dropped(schema_name) is distinct from v_exists then
    return null;
  end if;

  perform pgstream._lock_schemas(array[schema_name], deadline);
  perform pgstream._assign_ids(v_oids);
  return pgstream._log_schema(schema_name, v_oids, v_keys);
end
$$;

comment on function pgstream._reconcile_schema is
  'Logs what differs between a schema and its last version; returns the number of the new one, '
  'null when nothing differs.';

create or replace function pgstream._reconcile_log()
  returns table (schema_name text, version bigint)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_fingerprint bigint;
begin
  if pgstream._is_moved() then
    perform pgstream._lock_schemas('{}', pgstream._lock_deadline());
  end if;
  v_fingerprint := pgstream._catalog_fingerprint();
  for schema_name in
    select l.schema_name from pgstream.schema_log l
    union
    select n.nspname
    from pg_namespace n
    where not pgstream.is_system_schema(n.nspname)
      and exists (
        select from pg_class c
        where c.relnamespace = n.oid and c.relkind in ('r', 'p') and pgstream._is_logged(c.oid))
    order by 1
  loop
    version := pgstream._reconcile_schema(schema_name, pgstream._lock_deadline());
    if version is not null then
      return next;
    end if;
  end loop;
  delete from pgstream.table_ids i
  where not exists (select from pg_class c where c.oid::bigint = i.oid);
  update pgstream.schema_state set fingerprint = v_fingerprint, database_oid = pgstream._home();
end
$$;

comment on function pgstream._reconcile_log is
  'Compares every schema with its last version and logs those that differ.';

create or replace function pgstream._reconcile_publications() returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_deadline constant timestamptz := pgstream._lock_deadline();
begin
  perform pgstream._sync_publications(queue => true, deadline => v_deadline);
  if exists (select from pgstream._publication_changes() c where c.must) then
    perform pgstream._refuse_locked('publication pgstream_update is');
  end if;
  perform pgstream._return_identities(v_deadline);
end
$$;

comment on function pgstream._reconcile_publications is
  'Brings the publications in step, and gives back what pgstream._lend_identity() has lent, except '
  'to tables that are in use.';

create or replace function pgstream.reconcile() returns table (schema_name text, version bigint)
  language plpgsql volatile parallel unsafe security definer
  -- definer: a role that may call this need not be able to write the log
  set search_path = pg_catalog, pg_temp
as $$
begin
  if pgstream._is_reconciled() then
    return;
  end if;
  if not pgstream._try_lock('reconcile') then
    raise exception 'the schema log is locked by another transaction, which reconciles it'
      using errcode = 'lock_not_available', hint = 'Try again when that transaction has ended.';
  end if;
  perform pgstream._repair_targets();
  return query select * from pgstream._reconcile_log();
  perform pgstream._reconcile_publications();
  perform pgstream._recheck_programs();
  update pgstream.ddl_error set reconciled_at = now() where reconciled_at is null;
end
$$;

comment on function pgstream.reconcile is
  'Logs every schema whose last logged version differs from the catalogs, brings the '
  'publications in step, and returns the versions that it wrote. Costs little when the catalogs '
  'are as they were the last time.';

create or replace function pgstream._is_reconciled() returns boolean
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select not pgstream._is_moved()
     and not exists (select from pgstream.ddl_error e where e.reconciled_at is null)
     and not exists (select from pgstream.lent_identities)
     and exists (
       select from pgstream.schema_state s where s.fingerprint = pgstream._catalog_fingerprint())
     and pgstream._stale_targets() is null
     -- the upkeep may have been switched on or off
     and not exists (
       select from pgstream._publication_changes() c where c.wanted or c.must)
$$;

comment on function pgstream._is_reconciled is
  'Whether nothing was written to the catalogs since they were last compared, nothing failed, no '
  'replica identity is lent, and all is published that is to be.';

create or replace function pgstream._tables_without_id(schema_name text) returns oid[]
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(c.oid), '{}')
  from pg_namespace n
  join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p')
  left join pgstream.table_ids i on i.oid = c.oid::bigint
  where n.nspname = schema_name and pgstream._is_logged(c.oid)
    and i.born is distinct from pgstream._table_birth(c.oid)
$$;

comment on function pgstream._tables_without_id is
  'Tables of a schema that have no id, or that of an earlier table of their oid.';

create or replace function pgstream.refresh_schema(schema_to_refresh text) returns bigint
  language plpgsql volatile parallel unsafe security definer
  -- definer: a role that may call this need not be able to write the log
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_oids oid[];
  v_keys text[];
begin
  perform pgstream._lock_schemas(array[schema_to_refresh], pgstream._lock_deadline());
  v_oids := pgstream._oids_in(schema_to_refresh);
  select coalesce(array_agg(s.key), '{}') into v_keys
  from pgstream.schema_objects s
  where s.schema_name = schema_to_refresh;
  perform pgstream._assign_ids(v_oids);
  return pgstream._log_schema(schema_to_refresh, v_oids, v_keys, even_if_equal => true);
end
$$;

comment on function pgstream.refresh_schema is
  'Logs a new version of the schema as it stands, also when nothing has changed, and returns its '
  'number.';
