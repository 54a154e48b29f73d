-- The columns of a foreign table, and what there is to do for them to be those of the table that it
-- stands for. A remote table is known by its oid and its columns by their numbers, so that what was
-- renamed is not taken for dropped and added; after the foreign database was restored from a dump,
-- or is another one, by their names.
--
-- What the columns are called here is the user's: their options say what they are called there.

create or replace function pgstream._local_columns(relation oid, known jsonb)
  returns table (column_number smallint, name text, remote_name text, type text,
                 not_null boolean, remote_number smallint)
  language sql stable parallel safe
begin atomic
  select a.attnum, a.attname::text, r.name,
         concat_ws(' ', format_type(a.atttypid, a.atttypmod),
                   case when a.attcollation in (950, 951)
                     then format('collate "%s"', case a.attcollation when 950 then 'C'
                                                                     else 'POSIX' end) end),
         a.attnotnull, (k.c ->> 'number')::smallint
  from pg_attribute a
  cross join lateral (
    select coalesce(pgstream._foreign_option(a.attfdwoptions, 'column_name'),
                    a.attname::text) as name
  ) r
  left join jsonb_array_elements(known) k(c) on k.c ->> 'name' = r.name
  where a.attrelid = relation and a.attnum > 0 and not a.attisdropped;
end;

comment on function pgstream._local_columns is
  'The columns of a foreign table, what each was last known as in the foreign database, and its '
  'number there. known: what pgstream.foreign_tables.columns says.';

create or replace function pgstream._wanted_columns(columns jsonb, types jsonb, server text)
  returns table (remote_number smallint, name text, type text, not_null boolean)
  language sql stable parallel safe
begin atomic
  select (c ->> 'number')::smallint, c ->> 'name',
         concat_ws(' ', pgstream._local_type(types, server, ((c ->> 'type')::bigint)::oid,
                                             (c ->> 'typmod')::integer),
                   case c ->> 'collation' when '950' then 'collate "C"'
                                          when '951' then 'collate "POSIX"' end),
         (c ->> 'not_null')::boolean
  from jsonb_array_elements(columns) c;
end;

comment on function pgstream._wanted_columns is
  'The columns that a foreign table has to have for the table that it stands for.';

create or replace function pgstream._kept_columns(columns jsonb, left_over jsonb) returns jsonb
  language sql immutable parallel safe
  return (
    select coalesce(jsonb_agg(
      jsonb_build_object('number', c -> 'number', 'name', c -> 'name', 'key', c -> 'key')), '[]')
    from jsonb_array_elements(columns || left_over) c);

comment on function pgstream._kept_columns is 'What pgstream.foreign_tables.columns keeps.';

create or replace function pgstream._column_clause(name text, type text, not_null boolean)
  returns text
  language sql immutable parallel safe
  -- the collation, which is the end of the type, comes after the options
  return format('%I %s options (column_name %L) %s%s', name,
                regexp_replace(type, ' collate .*', ''), name, substring(type from 'collate .*'),
                case when not_null then ' not null' end);

comment on function pgstream._column_clause is 'A column of a foreign table, as it is created.';

create or replace function pgstream._rename_columns(relation regclass, renames jsonb)
  returns setof text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_column record;
begin
  for v_column in
    select r.*, pgstream._foreign_option(a.attfdwoptions, 'column_name') is not null as has_option
    from jsonb_to_recordset(renames) r(number smallint, name text, was text, is_now text)
    join pg_attribute a on a.attrelid = relation and a.attnum = r.number
  loop
    execute format('alter foreign table %s alter column %I options (%s column_name %L)', relation,
                   v_column.name, case when v_column.has_option then 'set' else 'add' end,
                   v_column.is_now);
    if v_column.name = v_column.was then
      execute format('alter foreign table %s rename column %I to %I', relation, v_column.name,
                     format('pgstream.%s', v_column.number));
    end if;
    return next format('column %s renamed to %s', v_column.was, v_column.is_now);
  end loop;
  for v_column in
    select a.attname, r.was, r.is_now, exists (
             select from pg_attribute b
             where b.attrelid = relation and b.attname = r.is_now and b.attnum <> r.number
           ) as is_taken
    from jsonb_to_recordset(renames) r(number smallint, name text, was text, is_now text)
    join pg_attribute a on a.attrelid = relation and a.attnum = r.number
    where r.name = r.was
  loop
    execute format('alter foreign table %s rename column %I to %I', relation, v_column.attname,
                   case when v_column.is_taken then v_column.was else v_column.is_now end);
  end loop;
end
$$;

comment on function pgstream._rename_columns is
  'Follows columns that have other names in the foreign database, also when they have swapped '
  'them. They are renamed here as well, unless they have names of their own or the new one is '
  'taken.';

create or replace function pgstream._column_changes(
  relation regclass, known jsonb, columns jsonb, by_name boolean, types jsonb, server text
) returns table (
  number smallint, name text, remote_name text, type text, not_null boolean, remote_number smallint,
  new_name text, new_type text, new_not_null boolean
)
  language sql stable parallel safe
begin atomic
  with wanted as (
    select w.* from pgstream._wanted_columns(columns, types, server) w
  ), present as (
    select l.*, coalesce(case when not by_name then l.remote_number end, w.remote_number) as wanted
    from pgstream._local_columns(relation, known) l
    left join wanted w on w.name = l.remote_name
  )
  select p.column_number, p.name, p.remote_name, p.type, p.not_null, p.remote_number,
         w.name, w.type, w.not_null
  from present p
  full join wanted w on w.remote_number = p.wanted
  order by w.name is not null, p.name is null, w.remote_number, p.column_number;
end;

comment on function pgstream._column_changes is
  'The columns of a foreign table beside those that it has to have: first those that are gone, '
  'last those that are new.';

create or replace function pgstream._obstacles_to_drop(relation regclass, column_number smallint)
  returns text
  language sql stable parallel safe
begin atomic
  select string_agg(o.name, ', ' order by o.name)
  from (
    select pg_describe_object('pg_class'::regclass, v.relation, 0) as name
    from pgstream._views_on(relation, column_number) v
    where not exists (select from pgstream.cached_tables c where c.target = v.relation)
    union
    select b.name from pgstream._obstacles(relation, column_number) b(name)
  ) o;
end;

comment on function pgstream._obstacles_to_drop is
  'What needs a column of a foreign table, apart from the materialized views that cache the table.';

create or replace function pgstream._plan_columns(
  relation regclass, server text, known jsonb, columns jsonb, by_name boolean, types jsonb,
  out gone jsonb, out renamed jsonb, out retyped jsonb, out nullable jsonb, out new jsonb,
  out kept jsonb, out problems text[]
)
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_change record;
  v_obstacles text;
begin
  gone := '[]';
  renamed := '[]';
  retyped := '[]';
  nullable := '[]';
  new := '[]';
  kept := '[]';
  problems := '{}';
  for v_change in
    select c.number, c.name, c.remote_name as was, c.new_name as is_now, c.new_type as type,
           c.type as old_type, c.new_not_null as not_null, c.not_null as old_not_null,
           c.remote_number
    from pgstream._column_changes(relation, known, columns, by_name, types, server) c
  loop
    if v_change.name is null then
      new := new || to_jsonb(v_change);
    elsif v_change.is_now is null then
      v_obstacles := pgstream._obstacles_to_drop(relation, v_change.number);
      if v_obstacles is null then
        gone := gone || to_jsonb(v_change);
      else
        problems := problems
          || format('column %s is gone, but needed by %s', v_change.name, v_obstacles);
        kept := kept || jsonb_build_object('number', v_change.remote_number, 'name', v_change.was);
      end if;
    else
      if v_change.old_type <> v_change.type then
        select string_agg(o, ', ' order by o) into v_obstacles
        from pgstream._obstacles(relation, v_change.number) o;
        if v_obstacles is null then
          retyped := retyped || to_jsonb(v_change);
        else
          problems := problems || format('column %s cannot become %s because of %s', v_change.name,
                                         v_change.type, v_obstacles);
        end if;
      end if;
      if v_change.old_not_null <> v_change.not_null then
        nullable := nullable || to_jsonb(v_change);
      end if;
      if v_change.was <> v_change.is_now then
        renamed := renamed || to_jsonb(v_change);
      end if;
    end if;
  end loop;
end
$$;

comment on function pgstream._plan_columns is
  'What there is to do for a foreign table, before anything is touched; kept: columns that are '
  'gone, but needed by something that problems names.';
