-- Local copies of foreign tables. One of mode table is a real table with its key; a refresh writes
-- only what differs, so that its changes are events like any other, also of a database without
-- logical decoding. One of mode materialized_view is refreshed as a whole, and makes no events.

create or replace function pgstream._columns_of(rel regclass) returns jsonb
  language sql stable parallel safe
  -- as the names of types are compared with those of other sessions
  set quote_all_identifiers = off
begin atomic
  -- columns of unknown types are plain text in a copy
  select coalesce(
           jsonb_agg(jsonb_build_object(
             'number', a.attnum, 'name', a.attname,
             'type', case when a.atttypid = 'pgstream.foreign_text'::regtype then 'text'
                          else format_type(a.atttypid, a.atttypmod) end)
           order by a.attnum), '[]')
  from pg_attribute a
  where a.attrelid = rel and a.attnum > 0 and not a.attisdropped;
end;

comment on function pgstream._columns_of is 'The columns of a relation, as its copy has them.';

create or replace function pgstream._key_of(source regclass) returns text[]
  language sql stable parallel safe
begin atomic
  -- as the columns are called here
  select array_agg(l.name order by (k.c ->> 'key')::integer)
  from pgstream.foreign_tables f
  cross join lateral jsonb_array_elements(f.columns) k(c)
  join pgstream._local_columns(f.relation, f.columns) l on l.remote_name = k.c ->> 'name'
  where f.relation = source and k.c ->> 'key' is not null;
end;

comment on function pgstream._key_of is
  'The key of an imported table, as far as the catalogs there tell; null where it has none.';

create or replace function pgstream._check_cache(
  source regclass, key_columns text[], watermark text, mode text
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns constant jsonb := pgstream._columns_of(source);
  v_unknown text;
begin
  if coalesce(cardinality(key_columns), 0) = 0 then
    raise exception '% has no key', source
      using errcode = 'object_not_in_prerequisite_state',
            detail = 'Without one it cannot be told which rows have changed.',
            hint = 'Name columns that tell its rows apart: key_columns => ''{id}''.';
  elsif mode is null or mode not in ('table', 'materialized_view') then
    raise exception 'there is no mode "%"', mode
      using errcode = 'invalid_parameter_value',
            hint = 'A foreign table is cached as a table or as a materialized_view.';
  elsif watermark is not null and mode <> 'table' then
    raise exception 'a materialized view is always refreshed as a whole'
      using errcode = 'invalid_parameter_value',
            hint = 'A watermark is for mode => ''table''.';
  end if;
  select string_agg(k, ', ') into v_unknown
  from unnest(key_columns || watermark) k
  where k is not null
    and not exists (select from jsonb_array_elements(v_columns) c where c ->> 'name' = k);
  if v_unknown is not null then
    raise exception '% has no column %', source, v_unknown
      using errcode = 'undefined_column',
            hint = format('Its columns are: %s.',
                          (select string_agg(c ->> 'name', ', ')
                           from jsonb_array_elements(v_columns) c));
  end if;
end
$$;

comment on function pgstream._check_cache is 'Fails where a relation cannot be cached like this.';

create or replace function pgstream._create_target(
  source regclass, target text, mode text, key_columns text[]
) returns regclass
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_key constant text := (select string_agg(quote_ident(k), ', ') from unnest(key_columns) k);
begin
  if mode = 'materialized_view' then
    perform pgstream._execute(
      array[format('create materialized view %s as select * from %s', target, source)]);
    execute format('create unique index on %s (%s)', target, v_key);
  else
    execute format('create table %s as select %s from %s with no data', target,
                   (select string_agg(format('%1$I::%2$s as %1$I', c.name, c.type), ', ')
                    from jsonb_to_recordset(pgstream._columns_of(source)) c(name text, type text)),
                   source);
    execute format('alter table %s add primary key (%s)', target, v_key);
  end if;
  return to_regclass(target);
end
$$;

comment on function pgstream._create_target is 'Makes what a foreign table is cached in.';

create or replace function pgstream._target_name(target text) returns text
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts constant text[] := parse_ident(target);
begin
  if cardinality(v_parts) <> 2 then
    raise exception '% is not the name of a table', target
      using errcode = 'invalid_name', hint = 'Write it as schema.table.';
  end if;
  perform pgstream._check_given(jsonb_build_object('schema', v_parts[1], 'table', v_parts[2]));
  if pgstream.is_system_schema(v_parts[1]) or to_regnamespace(quote_ident(v_parts[1])) is null
  then
    raise exception 'there is no schema % for a cached table', v_parts[1]
      using errcode = 'invalid_schema_name',
            hint = format('create schema %I;', v_parts[1]);
  end if;
  return pgstream._qualified(v_parts[1], v_parts[2]);
end
$$;

comment on function pgstream._target_name is
  'The name of a table to be made, quoted; fails where it cannot be one.';

create or replace function pgstream.cache_foreign_table(
  source regclass, target text, mode text default 'table', refresh_every interval default null,
  key_columns text[] default null, watermark text default null
) returns regclass
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := pgstream._target_name(target);
  v_key constant text[] := coalesce(key_columns, pgstream._key_of(source));
  v_target regclass;
  v_known pgstream.cached_tables;
begin
  perform pgstream._check_cache(source, v_key, watermark, mode);
  perform pgstream._take_turn(format('cache.%s', v_name), v_name);
  v_target := to_regclass(v_name);
  select c.* into v_known from pgstream.cached_tables c where c.target = v_target;
  if v_target is not null
    and (v_known.source, v_known.mode) is distinct from (source, mode) then
    raise exception 'there is a relation % already', v_name
      using errcode = 'duplicate_table',
            detail = format('It caches %s as a %s.', v_known.source, v_known.mode),
            hint = 'Choose another target.';
  end if;
  if v_target is null then
    perform pgstream._hold(array[source]);
    perform pgstream._check_reader(source, pgstream._oid_of(current_user));
    v_target := pgstream._create_target(source, v_name, mode, v_key);
    insert into pgstream.cached_tables (target, source, mode, key_columns, columns)
    values (v_target, source, mode, v_key, pgstream._columns_of(source));
  end if;
  update pgstream.cached_tables c
  set refresh_every = cache_foreign_table.refresh_every, watermark = cache_foreign_table.watermark,
      watermark_value = null
  where c.target = v_target;
  perform pgstream.refresh_cached_table(v_target);
  perform pgstream._execute_as_owner(pgstream._owner_of(v_target), v_name,
                                     array[format('analyze %s', v_target)]);
  return v_target;
end
$$;

comment on function pgstream.cache_foreign_table is
  'Keeps a copy of a foreign table, or of a view on some, that is filled when this returns. mode: '
  'table, whose changes are events, or materialized_view. refresh_every: how often '
  'pgstream.refresh_due(), and so pgstream run, refreshes it; null for when you do. key_columns: '
  'what tells its rows apart; known of imported tables. watermark: a column that grows with every '
  'change of a row, e.g. updated_at: a refresh then reads only rows beyond the last one, and all '
  'once a day, to find those that were deleted. Run again it changes refresh_every and watermark, '
  'and refreshes.';

create or replace function pgstream.uncache_foreign_table(
  target regclass, keep boolean default false
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_mode text;
begin
  delete from pgstream.cached_tables c
  where c.target = uncache_foreign_table.target
  returning c.mode into v_mode;
  if not found then
    raise exception '% caches no foreign table', target
      using errcode = 'undefined_object',
            hint = 'select target from pgstream.cached_status;';
  end if;
  if not keep then
    execute format('drop %s %s', replace(v_mode, '_', ' '), target);
  end if;
end
$$;

comment on function pgstream.uncache_foreign_table is
  'Drops the copy of a foreign table; with keep => true it stays, and is not refreshed any more.';

create or replace view pgstream.cached_status as
select c.oid::regclass as target, k.source, k.mode,
       case
         when c.oid is null then 'dropped'
         when k.failures > 0 then 'failing'
         when k.refresh_every is null then 'manual'
         when k.next_refresh_at < clock_timestamp() - greatest(k.refresh_every, interval '10 s')
           then 'late'
         else 'fresh'
       end as state,
       k.refresh_every, k.refreshed_at, clock_timestamp() - k.refreshed_at as age, k.duration,
       k.rows_changed, k.failures, k.last_error, k.last_error_at, k.next_refresh_at
from pgstream.cached_tables k
left join pg_class c on c.oid = k.target;

comment on view pgstream.cached_status is 'How fresh each cached table is, one row each.';
comment on column pgstream.cached_status.target is 'The copy.';
comment on column pgstream.cached_status.source is 'What it is a copy of.';
comment on column pgstream.cached_status.mode is 'table or materialized_view.';
comment on column pgstream.cached_status.state is
  'fresh; late: nobody calls pgstream.refresh_due(), as pgstream run does; failing: the last '
  'refreshes failed, see last_error, and the contents are those of refreshed_at; manual: it is '
  'refreshed only when you do; dropped: somebody has dropped it.';
comment on column pgstream.cached_status.refresh_every is 'How often it is to be refreshed.';
comment on column pgstream.cached_status.refreshed_at is
  'As of when its contents are: the last refresh that succeeded began then.';
comment on column pgstream.cached_status.age is 'How long ago that was.';
comment on column pgstream.cached_status.duration is 'How long that took.';
comment on column pgstream.cached_status.rows_changed is
  'How many rows that wrote; null for a materialized view.';
comment on column pgstream.cached_status.failures is 'How many refreshes have failed since.';
comment on column pgstream.cached_status.last_error is 'Why the last one failed.';
comment on column pgstream.cached_status.last_error_at is 'When it failed.';
comment on column pgstream.cached_status.next_refresh_at is
  'When it is refreshed next; after failures with growing pauses, of an hour at most.';
