create or replace function pgstream._append_schema(
  schema_name text, document jsonb, even_if_equal boolean default false
) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set timezone = 'UTC'
as $$
declare
  v_last record;
  v_version bigint;
begin
  select l.version, l.schema into v_last
  from pgstream.schema_log l
  where l.schema_name = _append_schema.schema_name
  order by l.version desc
  limit 1;

  if v_last.schema = document and not even_if_equal then
    return null;
  end if;

  v_version := coalesce(v_last.version, 0);
  loop
    v_version := v_version + 1;
    begin
      insert into pgstream.schema_log (schema_name, version, schema)
      values (_append_schema.schema_name, v_version, document);
      return v_version;
    exception when unique_violation then
      -- The snapshot of a REPEATABLE READ transaction does not show the versions of others.
      continue;
    end;
  end loop;
end
$$;

comment on function pgstream._append_schema is
  'Writes the next version of a schema and returns its number; null when the last version says '
  'the same already.';

create or replace function pgstream._log_schema(
  schema_name text, even_if_equal boolean default false
) returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if not pgstream._try_lock(format('schema_log.%s', schema_name)) then
    raise exception 'the schema log of "%" is locked by another transaction', schema_name
      using errcode = 'lock_not_available',
            hint = format('select pgstream.refresh_schema(%L);', schema_name);
  end if;
  return pgstream._append_schema(
    schema_name,
    case when exists (select from pg_namespace n where n.nspname = schema_name)
      then pgstream._schema_json(schema_name)
      else '{"tables": null, "dropped": true}'
    end,
    even_if_equal);
end
$$;

comment on function pgstream._log_schema is
  'Logs a schema as it stands, one transaction at a time, so that versions are gapless and in '
  'commit order. Fails with 55P03 when another transaction holds the schema''s log for longer '
  'than pgstream.lock_timeout.';

create or replace function pgstream._try_log_schema(schema_name text, command_tag text) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_isolation constant text := current_setting('transaction_isolation');
begin
  if v_isolation <> 'serializable' then
    perform pgstream._log_schema(schema_name);
  end if;
  if v_isolation in ('repeatable read', 'serializable') then
    insert into pgstream.ddl_error (command_tag, schema_name, sqlstate, message)
    values (command_tag, schema_name, '01000', format('the transaction is %s', v_isolation));
  end if;
exception when others then
  perform pgstream._record_ddl_error(command_tag, schema_name, sqlstate, sqlerrm);
end
$$;

comment on function pgstream._try_log_schema is
  'Logs a schema; what goes wrong becomes a row of pgstream.ddl_error and a warning, never an '
  'error of the statement that changed the schema. The snapshot of a REPEATABLE READ transaction '
  'may be too old, and reading the log could make a SERIALIZABLE one fail: the runner reconciles '
  'after these.';

create or replace function pgstream._record_ddl_error(
  command_tag text, schema_name text, error_state text, message text
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  begin
    insert into pgstream.ddl_error (command_tag, schema_name, sqlstate, message)
    values (command_tag, schema_name, error_state, message);
  exception when others then
    raise warning 'pgstream cannot write pgstream.ddl_error: %', sqlerrm;
  end;
  raise warning 'pgstream could not follow %: %', command_tag, message
    using detail = 'The statement itself is not affected.',
          hint = 'select pgstream.reconcile();';
end
$$;

comment on function pgstream._record_ddl_error is
  'Writes a row of pgstream.ddl_error, from which the runner learns of it, and raises a warning.';

create or replace function pgstream.refresh_schema(schema_to_refresh text) returns bigint
  language plpgsql volatile parallel unsafe security definer
  -- definer: a role that may call this need not be able to write the log
  set search_path = pg_catalog, pg_temp
as $$
begin
  return pgstream._log_schema(schema_to_refresh, even_if_equal => true);
end
$$;

comment on function pgstream.refresh_schema is
  'Logs a new version of the schema as it stands, also when nothing has changed, and returns its '
  'number.';

create or replace function pgstream.reconcile() returns table (schema_name text, version bigint)
  language plpgsql volatile parallel unsafe security definer
  -- definer: a role that may call this need not be able to write the log
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
begin
  delete from pgstream.table_ids i
  where not exists (select from pg_class c where c.oid::bigint = i.oid);

  for v_schema in
    select n.nspname::text
    from pg_namespace n
    where not pgstream.is_system_schema(n.nspname)
      and (exists (select from pgstream._logged_tables(n.nspname))
           or exists (select from pgstream.schema_log l where l.schema_name = n.nspname))
    union
    select l.schema_name from pgstream.schema_log l
    order by 1
  loop
    schema_name := v_schema;
    version := pgstream._log_schema(v_schema);
    if version is not null then
      return next;
    end if;
  end loop;
  perform pgstream.sync_publications();
  update pgstream.ddl_error set reconciled_at = now() where reconciled_at is null;
end
$$;

comment on function pgstream.reconcile is
  'Logs every schema whose last logged version differs from the catalogs, brings the '
  'publications in step, and returns the versions that it wrote.';

do $$
begin
  perform pgstream._log_schema(n.nspname)
  from pg_namespace n
  where not pgstream.is_system_schema(n.nspname)
    and exists (select from pgstream._logged_tables(n.nspname))
  order by n.nspname;
end
$$;
