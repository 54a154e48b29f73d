-- How a copy is made what its source is: first its columns, then its rows, of which only those are
-- written that differ.

create or replace function pgstream._follow_columns(cached pgstream.cached_tables)
  returns pgstream.cached_tables
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind constant text := replace(cached.mode, '_', ' ');
  v_new constant jsonb := pgstream._columns_of(cached.source);
  v_is_different boolean := false;
  v_column record;
  v_again text[];
begin
  if v_new = cached.columns then
    return cached;
  elsif v_new = '[]' then
    raise exception '% is gone', cached.source::text
      using errcode = 'undefined_table',
            hint = format('select pgstream.uncache_foreign_table(%L);', cached.target);
  end if;
  for v_column in
    with old as (
      select o.*, exists (
               select from jsonb_array_elements(v_new) n where n ->> 'name' = o.name) as is_kept
      from jsonb_to_recordset(cached.columns) o(number integer, name text, type text)
    ), new as (
      select n.*, coalesce(
               (select o.name from old o where o.name = n.name),
               (select o.name from old o where o.number = n.number and not o.is_kept)) as old_name
      from jsonb_to_recordset(v_new) n(number integer, name text, type text)
    )
    select o.name as old_name, o.type as old_type, n.name, n.type
    from old o
    full join new n on n.old_name = o.name
    order by n.name is not null, n.number
  loop
    if v_column.name is null then
      if cached.mode = 'table' then
        execute format('alter table %s drop column %I', cached.target, v_column.old_name);
      end if;
    elsif v_column.old_name is null then
      if cached.mode = 'table' then
        execute format('alter table %s add column %I %s', cached.target, v_column.name,
                       v_column.type);
      end if;
      cached.watermark_value := null; -- what the new column holds is known of no row
    else
      if v_column.old_name <> v_column.name then
        execute format('alter %s %s rename column %I to %I', v_kind, cached.target,
                       v_column.old_name, v_column.name);
        cached.key_columns := array_replace(cached.key_columns, v_column.old_name, v_column.name);
        cached.watermark := case cached.watermark when v_column.old_name then v_column.name
                                                  else cached.watermark end;
      end if;
      if v_column.old_type <> v_column.type and cached.mode = 'table' then
        v_again := pgstream._take_down(
          cached.target,
          (select a.attnum from pg_attribute a
           where a.attrelid = cached.target and a.attname = v_column.name));
        execute format('alter table %s alter column %I type %s using %2$I::text::%3$s',
                       cached.target, v_column.name, v_column.type);
        perform pgstream._run_all(v_again);
      end if;
    end if;
  end loop;
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
  v_itself constant text[] := array(select * from pgstream._definition(target, true));
  v_others text[];
begin
  if v_obstacles is not null then
    raise exception '% cannot get the columns that its source has now', v_name
      using errcode = 'dependent_objects_still_exist',
            detail = format('Needed by: %s.', v_obstacles),
            hint = 'Drop these, or make them views.';
  end if;
  v_others := pgstream._take_down(target);
  execute format('drop materialized view %s', v_name);
  perform pgstream._run_all(v_itself || v_others);
  return v_name::regclass;
end
$$;

comment on function pgstream._rebuild is
  'Makes the materialized view that caches a foreign table anew, with the views on it.';

create or replace function pgstream._newest(cached pgstream.cached_tables, since_last boolean)
  returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest text;
begin
  execute format('select max(%I)::text from %s', cached.watermark, cached.target) into v_newest;
  return case when since_last then coalesce(v_newest, cached.watermark_value) else v_newest end;
end
$$;

comment on function pgstream._newest is
  'The greatest watermark in a copy. since_last: or that of before, where no row is left.';

create or replace function pgstream._merge(cached pgstream.cached_tables, since text)
  returns bigint
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_c record;
  v_condition text := 'true';
  v_rows bigint;
  v_changed bigint := 0;
begin
  select string_agg(format('(%I)::%s as %1$I', c.name, c.type), ', ') as read,
         string_agg(format('%I', c.name), ', ') as names,
         string_agg(format('s.%I', c.name), ', ') as new,
         string_agg(format('t.%I', c.name), ', ') as old,
         string_agg(format('d.%I', c.name), ', ') as found,
         string_agg(case when k.is_key then format('coalesce(s.%1$I, t.%1$I) as %1$I', c.name)
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
  execute format(
    'create temporary table pgstream_difference on commit drop as
     select %1$s, case when t.%2$I is null then ''insert'' when s.%2$I is null then ''delete''
                       else ''update'' end as "pgstream.action"
     from (select %3$s from %4$s where %5$s) s
     %6$s join %7$s t on %8$s
     where t.%2$I is null or s.%2$I is null or row(%9$s)::record *<> row(%10$s)::record',
    v_c.kept, cached.key_columns[1], v_c.read, cached.source, v_condition,
    case when since is null then 'full' else 'left' end, cached.target, v_c.same, v_c.new, v_c.old);
  execute format(
    'delete from %s t using pg_temp.pgstream_difference d
     where d."pgstream.action" = ''delete'' and %s', cached.target, v_c.same_row);
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  execute format(
    'update %s t set (%s) = row(%s) from pg_temp.pgstream_difference d
     where d."pgstream.action" = ''update'' and %s', cached.target, v_c.names, v_c.found,
    v_c.same_row);
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;
  execute format(
    'insert into %s (%s) select %2$s from pg_temp.pgstream_difference d
     where d."pgstream.action" = ''insert''', cached.target, v_c.names);
  get diagnostics v_rows = row_count;
  drop table pg_temp.pgstream_difference;
  return v_changed + v_rows;
end
$$;

comment on function pgstream._merge is
  'Makes a copy what its source is, and writes only what differs; returns how many rows that were. '
  'since: reads only rows with this watermark or a greater one, and deletes none.';
