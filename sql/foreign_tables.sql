-- One foreign table: made, and repaired under the views that stand on it.

create or replace function pgstream._qualified(schema_name text, name text) returns text
  language sql immutable strict parallel safe
  return format('%I.%I', schema_name, name);

comment on function pgstream._qualified is 'A qualified name, quoted where it has to be.';

create or replace function pgstream._create_foreign_table(
  server text, remote_schema text, local_schema text, remote jsonb, types jsonb
) returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := pgstream._qualified(local_schema, remote ->> 'name');
  v_columns text;
  v_unknown text;
begin
  select string_agg(pgstream._column_clause(w.name, w.type, w.not_null), ', '),
         string_agg(w.name, ', ') filter (where w.type = 'pgstream.foreign_text')
  into v_columns, v_unknown
  from pgstream._wanted_columns(remote -> 'columns', types, server) w;
  execute format('create foreign table %s (%s) server %I options (schema_name %L, table_name %L)',
                 v_name, v_columns, server, remote_schema, remote ->> 'name');
  insert into pgstream.foreign_tables (relation, server_name, remote_oid, remote_name, columns)
  values (v_name::regclass, server, ((remote ->> 'oid')::bigint)::oid, remote ->> 'name',
          pgstream._kept_columns(remote -> 'columns', '[]'));
  return pgstream._notice_unknown(v_name, v_unknown);
end
$$;

comment on function pgstream._create_foreign_table is
  'Makes a foreign table; returns what has to be said about it.';

create or replace function pgstream._notice_unknown(foreign_table text, columns text) returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if columns is null then
    return null;
  end if;
  raise notice 'columns of types that mean nothing here are read as text: % of %', columns,
    foreign_table
    using hint = 'Install the extension, or create the type under its name, and sync again.';
  return format('%s read as text', columns);
end
$$;

comment on function pgstream._notice_unknown is
  'Tells of columns whose types do not exist here; returns it in short.';

create or replace function pgstream._alter_foreign_table(
  relation regclass, server text, known jsonb, columns jsonb, by_name boolean, types jsonb,
  out done text[], out problems text[]
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan record;
  v_column record;
  v_again jsonb := '[]';
  v_unknown text;
begin
  select * into v_plan
  from pgstream._plan_columns(relation, server, known, columns, by_name, types);
  problems := v_plan.problems;
  done := '{}';
  for v_column in select g.* from jsonb_to_recordset(v_plan.gone) g(number smallint, name text) loop
    execute format('alter foreign table %s rename column %I to %I', relation, v_column.name,
                   format('pgstream.gone.%s', v_column.number));
  end loop;
  -- before views make way, whose definitions name the columns
  done := done || array(select * from pgstream._rename_columns(relation, v_plan.renamed));

  for v_column in select g.* from jsonb_to_recordset(v_plan.gone) g(number smallint, name text) loop
    v_again := pgstream._make_way(relation, v_column.number) || v_again;
    execute format('alter foreign table %s drop column %I', relation,
                   format('pgstream.gone.%s', v_column.number));
    done := done || format('column %s dropped', v_column.name);
  end loop;
  for v_column in
    select a.attname, r.number, r.type
    from jsonb_to_recordset(v_plan.retyped) r(number smallint, type text)
    join pg_attribute a on a.attrelid = relation and a.attnum = r.number
  loop
    v_again := pgstream._make_way(relation, v_column.number) || v_again;
    -- which looks at defaults and checks anew
    perform pgstream._execute_as_owner(
      pgstream._owner_of(relation), relation::text,
      array[format('alter foreign table %s alter column %I type %s', relation, v_column.attname,
                   v_column.type)]);
    done := done || format('column %s is %s', v_column.attname, v_column.type);
  end loop;
  for v_column in
    select a.attname, n.not_null
    from jsonb_to_recordset(v_plan.nullable) n(number smallint, not_null boolean)
    join pg_attribute a on a.attrelid = relation and a.attnum = n.number
  loop
    execute format('alter foreign table %s alter column %I %s not null', relation,
                   v_column.attname, case when v_column.not_null then 'set' else 'drop' end);
    done := done || format('column %s is %s', v_column.attname,
                           case when v_column.not_null then 'not null' else 'nullable' end);
  end loop;
  for v_column in
    select n.* from jsonb_to_recordset(v_plan.new) n(is_now text, type text, not_null boolean)
  loop
    execute format('alter foreign table %s add column %s', relation, pgstream._column_clause(
      v_column.is_now, v_column.type, v_column.not_null));
    done := done || format('column %s added', v_column.is_now);
    if v_column.type = 'pgstream.foreign_text' then
      v_unknown := concat_ws(', ', v_unknown, v_column.is_now);
    end if;
  end loop;
  perform pgstream._make_again(v_again);

  update pgstream.foreign_tables f
  set columns = pgstream._kept_columns(_alter_foreign_table.columns, v_plan.kept)
  where f.relation = _alter_foreign_table.relation;
  done := done
    || array_remove(array[pgstream._notice_unknown(relation::text, v_unknown)], null);
end
$$;

comment on function pgstream._alter_foreign_table is
  'Repairs the columns of a foreign table under the views on them, which are made again; returns '
  'what was done, and what cannot be done while others need a column. by_name: the numbers of the '
  'columns mean nothing any more.';

create or replace function pgstream._rename_foreign_table(
  relation regclass, was text, is_now text, final boolean
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_name record;
begin
  select c.relname, n.nspname, format('pgstream.%s', c.oid) as between into v_name
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = relation;
  if not final then
    execute format('alter foreign table %s options (set table_name %L)', relation, is_now);
    if v_name.relname = was then
      execute format('alter foreign table %s rename to %I', relation, v_name.between);
    end if;
  elsif v_name.relname = v_name.between then
    execute format('alter foreign table %s rename to %I', relation,
                   case when to_regclass(format('%I.%I', v_name.nspname, is_now)) is null
                     then is_now else was end);
  end if;
end
$$;

comment on function pgstream._rename_foreign_table is
  'Follows a table that has another name in the foreign database, in two rounds, so that names '
  'can be swapped. It is renamed here as well, unless it has a name of its own or the new one is '
  'taken.';

create or replace function pgstream._drop_foreign_table(relation regclass) returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_needed_by text;
begin
  select string_agg(o.name, ', ' order by o.name) into v_needed_by
  from (
    select pg_describe_object('pg_class'::regclass, v.relation, 0) as name
    from pgstream._views_on(relation) v
    union
    select b.name from pgstream._obstacles(relation) b(name)
    union
    select format('cached table %s', c.target)
    from pgstream.cached_tables c
    where c.source = _drop_foreign_table.relation
  ) o;
  if v_needed_by is null then
    execute format('drop foreign table %s', relation);
    delete from pgstream.foreign_tables f where f.relation = _drop_foreign_table.relation;
  end if;
  return v_needed_by;
end
$$;

comment on function pgstream._drop_foreign_table is
  'Drops a foreign table whose table is gone, unless something needs it; returns what does.';
