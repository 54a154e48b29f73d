-- How a copy is made what its source is: first its columns, then its rows, of which only those are
-- written that differ. All of it is done by the owner of the copy (see pgstream._execute_as_owner).
--
-- Rows are compared by operators of pg_catalog: no other schema is searched for one, and the record
-- operators compare what is stored. What a type can bring into it, as the cast that = of text would
-- take, is made by the owner of the type, who could become whoever runs it (see
-- pgstream._untrusted), or, as the operator class of its elements or fields, by a superuser.

create or replace function pgstream._column_steps(
  cached pgstream.cached_tables, columns jsonb, out names jsonb, out types jsonb
)
  language sql immutable parallel safe
begin atomic
  with old as (
    select o.*, exists (
             select from jsonb_array_elements(columns) n where n ->> 'name' = o.name) as is_kept
    from jsonb_to_recordset(cached.columns) o(number integer, name text, type text)
  ), new as (
    select n.*, coalesce(
             (select o.name from old o where o.name = n.name),
             (select o.name from old o where o.number = n.number and not o.is_kept)) as was
    from jsonb_to_recordset(columns) n(number integer, name text, type text)
  ), steps as (
    select n.number, n.name, n.type, o.name as was, o.type as old_type
    from old o
    full join new n on n.was = o.name
  )
  select coalesce(jsonb_agg(to_jsonb(s) order by s.name is not null, s.number)
                    filter (where s.was is not null and s.name is distinct from s.was), '[]'),
         coalesce(jsonb_agg(to_jsonb(s) order by s.number)
                    filter (where s.name is not null and s.type is distinct from s.old_type), '[]')
  from steps s;
end;

comment on function pgstream._column_steps is
  'What a copy needs to have the columns of its source. names: of columns that go, or have another '
  'one; types: of columns that are new, or have another one.';

create or replace function pgstream._follow_columns(cached pgstream.cached_tables)
  returns pgstream.cached_tables
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := cached.target;
  v_owner constant oid := pgstream._owner_of(cached.target);
  v_new constant jsonb := pgstream._columns_of(cached.source);
  v_steps record;
  v_column record;
  v_statements text[] := '{}';
  v_again jsonb := '[]';
begin
  if v_new = cached.columns then
    return cached;
  elsif v_new = '[]' then
    raise exception '% is gone', cached.source::text
      using errcode = 'undefined_table',
            hint = format('select pgstream.uncache_foreign_table(%L);', cached.target);
  end if;
  select * into v_steps from pgstream._column_steps(cached, v_new);

  for v_column in select n.* from jsonb_to_recordset(v_steps.names) n(was text, name text) loop
    if v_column.name is not null then
      v_statements := v_statements || format('alter table %s rename column %I to %I', v_name,
                                             v_column.was, v_column.name);
      cached.key_columns := array_replace(cached.key_columns, v_column.was, v_column.name);
      cached.watermark := case cached.watermark when v_column.was then v_column.name
                                                else cached.watermark end;
    elsif cached.mode = 'table' then
      v_statements := v_statements || format('alter table %s drop column %I', v_name,
                                             v_column.was);
    end if;
  end loop;
  perform pgstream._execute_as_owner(v_owner, v_name, v_statements);

  v_statements := '{}';
  for v_column in
    select t.name, t.type, t.was, a.attnum,
           -- what the output function says, and no cast that somebody has made; those of Postgres
           -- say true, not t, and no blanks at the end of a character(n)
           case when y.typnamespace = 'pg_catalog'::regnamespace then format('%I::text', t.name)
                else format('case when num_nulls(%1$I) = 0 then format(''%%s'', %1$I) end', t.name)
           end as old_text
    from jsonb_to_recordset(v_steps.types) t(name text, type text, was text)
    left join pg_attribute a on a.attrelid = cached.target and a.attname = t.name
    left join pg_type y on y.oid = a.atttypid
  loop
    cached.watermark_value := null; -- what the column holds now is known of no row
    continue when cached.mode <> 'table';
    if v_column.was is not null then
      v_again := pgstream._make_way(cached.target, v_column.attnum) || v_again;
    end if;
    v_statements := v_statements || format(
      case when v_column.was is null then 'alter table %s add column %I %s'
           else 'alter table %s alter column %I type %s using (%s)::%3$s' end,
      v_name, v_column.name, v_column.type, v_column.old_text);
  end loop;
  perform pgstream._execute_as_owner(v_owner, v_name, v_statements);
  perform pgstream._make_again(v_again);

  cached.columns := v_new;
  update pgstream.cached_tables c
  set columns = cached.columns, key_columns = cached.key_columns, watermark = cached.watermark,
      watermark_value = cached.watermark_value
  where c.target = cached.target;
  if cached.mode = 'materialized_view'
    and (select jsonb_agg(c - 'number') from jsonb_array_elements(v_new) c)
        <> (select jsonb_agg(c - 'number')
            from jsonb_array_elements(pgstream._columns_of(cached.target)) c) then
    cached.target := pgstream._rebuild(cached.target);
  end if;
  return cached;
end
$$;

comment on function pgstream._follow_columns is
  'Gives a copy the columns that its source has now; a column that is gone is dropped, which fails '
  'where something needs it.';

create or replace function pgstream._rebuild(target regclass) returns regclass
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := target;
  v_obstacles constant text := (select string_agg(o, ', ') from pgstream._obstacles(target) o);
  v_itself constant jsonb := pgstream._recipe(target, true);
  v_others jsonb;
begin
  if v_obstacles is not null then
    raise exception '% cannot get the columns that its source has now', v_name
      using errcode = 'dependent_objects_still_exist',
            detail = format('Needed by: %s.', v_obstacles),
            hint = 'Drop these, or make them views.';
  end if;
  v_others := pgstream._make_way(target);
  execute format('drop materialized view %s', v_name);
  perform pgstream._make_again(v_itself || v_others);
  return v_name::regclass;
end
$$;

comment on function pgstream._rebuild is
  'Makes the materialized view that caches a foreign table anew, with the views on it.';

create or replace function pgstream._merge_rows(
  cached pgstream.cached_tables, since text, out changed bigint, out newest text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant oid := pgstream._owner_of(cached.target);
  v_c record;
  v_condition text := 'true';
  v_counts bigint[];
begin
  select string_agg(format('(%I)::%s as %1$I', c.name, c.type), ', ') as read,
         string_agg(format('%I %s', c.name, c.type), ', ') as defined,
         string_agg(format('%I', c.name), ', ') as names,
         string_agg(format('s.%I', c.name), ', ') as new,
         string_agg(format('t.%I', c.name), ', ') as old,
         string_agg(format('d.%I', c.name), ', ') as found,
         string_agg(case when k.is_key then format('coalesce(s.%1$I, t.%1$I)', c.name)
                         else format('s.%I', c.name) end, ', ') as kept,
         string_agg(format('t.%1$I = s.%1$I', c.name), ' and ') filter (where k.is_key) as same,
         string_agg(format('t.%1$I = d.%1$I', c.name), ' and ') filter (where k.is_key) as same_row,
         max(c.type) filter (where c.name = cached.watermark) as watermark_type
  into v_c
  from jsonb_to_recordset(cached.columns) c(name text, type text)
  cross join lateral (select c.name = any (cached.key_columns) as is_key) k;
  if since is not null then
    -- what was written before, and committed after the last refresh, is younger than five minutes
    v_condition := format(
      '(%1$I >= %2$s or %1$I is null)', cached.watermark,
      case when v_c.watermark_type ^@ 'timestamp'
        then format('%L::%s', since::timestamptz - interval '5 min', v_c.watermark_type)
        else format('%L::%s', since, v_c.watermark_type) end);
  end if;

  if to_regclass('pg_temp.pgstream_difference') is not null then
    drop table pg_temp.pgstream_difference; -- of another copy in this transaction
  end if;
  -- the owner could not make it inside, and gets no hold of it
  execute format(
    'create temporary table pgstream_difference (%s, "pgstream.action" text) on commit drop',
    v_c.defined);
  execute format('grant select, insert on pg_temp.pgstream_difference to %s', v_owner::regrole);
  select e.counts, e.answer into v_counts, newest
  from pgstream._execute_as_owner(
    v_owner, cached.target::text,
    array[
      format(
        'insert into pg_temp.pgstream_difference
         select %1$s, case when t.%2$I is null then ''insert'' when s.%2$I is null then ''delete''
                           else ''update'' end
         from (select %3$s from %4$s where %5$s) s
         %6$s join %7$s t on %8$s
         where t.%2$I is null or s.%2$I is null or row(%9$s)::record *<> row(%10$s)::record',
        v_c.kept, cached.key_columns[1], v_c.read, cached.source, v_condition,
        case when since is null then 'full' else 'left' end, cached.target, v_c.same, v_c.new,
        v_c.old),
      format(
        'delete from %s t using pg_temp.pgstream_difference d
         where d."pgstream.action" = ''delete'' and %s', cached.target, v_c.same_row),
      format(
        'update %s t set (%s) = row(%s) from pg_temp.pgstream_difference d
         where d."pgstream.action" = ''update'' and %s', cached.target, v_c.names, v_c.found,
        v_c.same_row),
      format(
        'insert into %s (%s) select %2$s from pg_temp.pgstream_difference d
         where d."pgstream.action" = ''insert''', cached.target, v_c.names)],
    case when cached.watermark is not null
      then format('select max(%I)::text from %s', cached.watermark, cached.target) end) e;
  drop table pg_temp.pgstream_difference;
  changed := v_counts[2] + v_counts[3] + v_counts[4];
end
$$;

comment on function pgstream._merge_rows is
  'Makes a copy what its source is, and writes only what differs; returns how many rows that were, '
  'and the greatest watermark in the copy. since: reads only rows with this watermark or a greater '
  'one, and deletes none.';
