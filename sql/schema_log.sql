-- The log of a schema, one version at a time. What holds for each schema:
--
--   1. pgstream.schema_objects says what pgstream.schema_at() says of the last version: both are
--      written together, by one transaction at a time, which holds the schema's lock until it
--      commits and sees what its predecessor wrote (READ COMMITTED only). So versions are gapless
--      and in commit order, and whoever does not hold the lock writes no row of the schema.
--   2. What a statement has changed is in the version that it wrote, or pgstream.ddl_error has a
--      row that is not reconciled: the schema was locked for too long, the transaction could not
--      see the present, something failed. Other transactions' changes are theirs to log.
--   3. After reconcile() the last version says what the catalogs say, whatever was missed.
--
-- All schemas that a statement touches are locked before anything is written, by polling; when one
-- cannot be had, nothing is. So no row of ours is ever waited for.

create or replace function pgstream._full_limit() returns integer
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting constant text := nullif(current_setting('pgstream.schema_log_full_limit', true), '');
begin
  return coalesce(v_setting, '300')::integer;
exception when invalid_text_representation or numeric_value_out_of_range then
  raise warning 'pgstream.schema_log_full_limit is "%", which is no number; using 300', v_setting;
  return 300;
end
$$;

comment on function pgstream._full_limit is
  'Up to so many tables a version describes the whole schema; above, what has changed.';

create or replace function pgstream._keys(oids oid[]) returns text[]
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select oids::text[] || array(
    select i.id::text from unnest(oids) o(oid) join pgstream.table_ids i on i.oid = o.oid::bigint)
$$;

comment on function pgstream._keys is
  'The keys in pgstream.schema_objects of the objects of these oids.';

create or replace function pgstream._is_logged_as_dropped(schema_name text) returns boolean
  language sql stable strict parallel safe
begin atomic
  select l.schema ? 'dropped'
  from pgstream.schema_log l
  where l.schema_name = _is_logged_as_dropped.schema_name
  order by l.version desc
  limit 1;
end;

comment on function pgstream._is_logged_as_dropped is
  'Whether the last version of a schema says that it is dropped; null when it has none.';

create or replace function pgstream._lock_schemas(schemas text[], deadline timestamptz) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception 'the transaction is %, so that it may not see the present of the schema',
      current_setting('transaction_isolation')
      using errcode = 'invalid_transaction_state',
            hint = 'In a READ COMMITTED transaction: select pgstream.reconcile();';
  end if;
  -- Two schemas may share a lock, so that the order of their names would not do.
  for v_schema in
    select s.name
    from unnest(schemas) s(name)
    order by pgstream._lock_id(format('schema_log.%s', s.name))
  loop
    if not pgstream._try_lock(format('schema_log.%s', v_schema), deadline => deadline) then
      raise exception 'the schema log of "%" is locked by another transaction', v_schema
        using errcode = 'lock_not_available',
              hint = format('select pgstream.refresh_schema(%L);', v_schema);
    end if;
  end loop;
  if not pgstream._try_lock_ours(deadline) then
    perform pgstream._refuse_locked_tables();
  end if;
  if pgstream._is_moved() then
    if not pgstream._try_lock('adopt', deadline => deadline) then
      raise exception 'the ids are being found again by another transaction'
        using errcode = 'lock_not_available', hint = 'select pgstream.reconcile();';
    end if;
    if pgstream._is_moved() then
      perform pgstream._adopt_ids();
      -- where there is anything to find again, oids in the documents are to be replaced
      insert into pgstream.ddl_error (command_tag, sqlstate, message)
      select 'RESTORE', '01000', 'the database is a copy: its tables were found again by name'
      where exists (select from pgstream.schema_objects);
    end if;
  end if;
end
$$;

comment on function pgstream._lock_schemas is
  'Locks the logs of schemas to the end of the transaction. Fails with 55P03 '
  'after the deadline, and with 25000 where the transaction cannot see the present.';

create or replace function pgstream._log_schema(
  schema_name text, oids oid[], keys text[], even_if_equal boolean default false
) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set timezone = 'UTC'
as $$
declare
  v_last bigint;
  v_changes jsonb;
  v_document jsonb;
begin
  select max(l.version) into v_last
  from pgstream.schema_log l
  where l.schema_name = _log_schema.schema_name;

  v_changes := pgstream._store_objects(schema_name, oids, keys);
  if not exists (select from pg_namespace n where n.nspname = schema_name) then
    if v_last is null then
      return null;
    end if;
    v_document := '{"tables": null, "dropped": true}';
  end if;
  if v_changes is null and not even_if_equal
    and pgstream._is_logged_as_dropped(schema_name) = (v_document is not null) then
    return null;
  end if;

  insert into pgstream.schema_log (schema_name, version, schema)
  values (
    schema_name,
    coalesce(v_last, 0) + 1,
    coalesce(v_document, case
      when pgstream._has_more_tables(schema_name, pgstream._full_limit())
        then '{"tables": [], "dropped_tables": []}' || coalesce(v_changes, '{}')
             || '{"partial": true}'
      else pgstream._stored_schema(schema_name)
    end));
  return coalesce(v_last, 0) + 1;
end
$$;

comment on function pgstream._log_schema is
  'Writes the next version of a schema, whose lock is held, and returns its number; null when '
  'nothing differs. Looks only at the objects of these oids, and at those stored with these keys.';

create or replace function pgstream._store_objects(schema_name text, oids oid[], keys text[])
  returns jsonb
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes jsonb;
begin
  with present as materialized (
    select o.* from pgstream._objects(oids) o where o.schema_name = _store_objects.schema_name
  ), gone as (
    delete from pgstream.schema_objects s
    where s.schema_name = _store_objects.schema_name
      and s.key = any (keys)
      and not exists (select from present p where p.kind = s.kind and p.key = s.key)
    returning s.kind, s.key, s.name, s.document
  ), changed as (
    insert into pgstream.schema_objects as s (schema_name, kind, key, name, document, parts)
    select p.schema_name, p.kind, p.key, p.name, p.document, p.parts from present p
    on conflict on constraint schema_objects_pkey do update
      set name = excluded.name, document = excluded.document, parts = excluded.parts
      where s.document <> excluded.document
    returning s.kind, s.name, s.document
  ), lists as (
    select c.kind as list, jsonb_agg(c.document order by c.name collate "C") as documents
    from changed c
    group by c.kind
    union all
    select format('dropped_%s', g.kind),
           jsonb_agg(
             jsonb_build_object('oid', g.document -> 'oid', 'name', g.name)
               || case when g.kind = 'tables' then jsonb_build_object('pgstream_id', g.key)
                  else '{}' end
             order by g.name collate "C")
    from gone g
    group by g.kind
  )
  select jsonb_object_agg(l.list, l.documents) into v_changes from lists l;

  delete from pgstream.table_ids i
  where i.id = any (keys) and not exists (select from pg_class c where c.oid::bigint = i.oid);
  return v_changes;
end
$$;

comment on function pgstream._store_objects is
  'Stores the objects of a schema that differ from what is stored, forgets those that are gone, '
  'and returns both as lists of documents; null when there is nothing to do.';

create or replace function pgstream._stored_schema(schema_name text) returns jsonb
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select jsonb_object_agg(k.kind, k.documents)
  from (
    select u.kind, (
      select jsonb_agg(s.document order by s.name collate "C")
      from pgstream.schema_objects s
      where s.schema_name = _stored_schema.schema_name and s.kind = u.kind
    ) as documents
    from unnest('{tables,sequences,enum_types,materialized_views}'::text[]) u(kind)
  ) k
  where k.kind = 'tables' or k.documents is not null
$$;

comment on function pgstream._stored_schema is
  'The whole of a schema, as it was last logged.';

create or replace function pgstream._has_more_tables(schema_name text, than integer)
  returns boolean
  language sql stable strict parallel safe
begin atomic
  select count(*) > than
  from (
    select from pgstream.schema_objects s
    where s.schema_name = _has_more_tables.schema_name and s.kind = 'tables'
    limit greatest(than, 0) + 1
  ) s;
end;

comment on function pgstream._has_more_tables is
  'Whether a schema, as it was last logged, has more than so many tables.';
