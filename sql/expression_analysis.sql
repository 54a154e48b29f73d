-- The expression of a user is parsed here with rights that the user may lack; expressions.sql says
-- why nothing of it runs.

create or replace function pgstream._mask_strings(expression text, clock_type text) returns text
  language sql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
  select string_agg(
    case
      when t.token !~ '^''' then t.token
      -- not behind a full stop, nor as the end of a longer name
      when t.before ~* (
        '(?<!\.\s*)(?<![^\x01-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f])(extract\s*\(|('
        'bool|boolean|smallint|int|integer|bigint|int2|int4|int8|real|float|float4|float8|'
        'double\s+precision|numeric|decimal|dec|text|char|character|char(acter)?\s+varying|varchar|'
        'bpchar|bytea|uuid|json|jsonb|jsonpath|inet|cidr|macaddr|macaddr8|tsvector|tsquery|point|'
        'bit|bit\s+varying|varbit|date|interval|time|timetz|timestamp|timestamptz'
        ')(\s*\(\s*\d+(\s*,\s*\d+)?\s*\))?(\s+with(out)?\s+time\s+zone)?)\s*$') then t.token
      -- no brackets: these could make what is before them a function
      when t.token ~* '(now|today|tomorrow|yesterday)' then format('null::%s', clock_type)
      else 'null::pg_catalog.unknown'
    end, '' order by t.n)
  from (
    select u.token, u.n, lag(u.token, 1, '') over (order by u.n) as before
    from unnest(pgstream._expression_tokens(expression)) with ordinality u(token, n)
  ) t
$$;

comment on function pgstream._mask_strings is
  'An expression with an untyped null for each of its strings. Those stay that Postgres reads as a '
  'scalar type of its own whatever others have made: behind the bare name of one, such as '
  'date ''2025-01-01'', and first in extract(). clock_type: the type of the nulls for strings that '
  'may be a moving time, such as ''today''.';

-- of another signature before
drop function if exists pgstream._analyse_expression(text, text, text);

create or replace function pgstream._analyse_expression(
  expression text, row_type text, path text, clock_type text default 'pg_catalog.unknown',
  out type oid, out tree text
)
  language plpgsql volatile parallel unsafe security definer
  -- definer: creates a view in schema pgstream, and takes it back before it returns
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
  set transform_null_equals = off
  set array_nulls = on
  set timezone = 'UTC'
  set datestyle = 'ISO'
  set intervalstyle = 'postgres'
as $$
declare
  v_probe constant text := format('probe_%s', pg_backend_pid());
begin
  perform set_config('search_path', path, true);
  execute format(
    'create view pgstream.%I (result) as '
    'select (select (%s) from (select null::pg_catalog.text, null::pg_catalog.timestamptz) '
    'as pgstream_event(op, pgstream_committed_at)) '
    'from pg_catalog.jsonb_to_recordset(null::pg_catalog.jsonb) as old(%s), '
    'pg_catalog.jsonb_to_recordset(null::pg_catalog.jsonb) as new(%s)',
    v_probe, pgstream._mask_strings(expression, clock_type), row_type, row_type);
  select a.atttypid, r.ev_action::text into type, tree
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum = 1
  join pg_rewrite r on r.ev_class = c.oid
  where c.relnamespace = 'pgstream'::regnamespace and c.relname = v_probe;
  raise exception using errcode = 'PGSRB';
exception when sqlstate 'PGSRB' then
  return;
end
$$;

comment on function pgstream._analyse_expression is
  'The type and the analysed tree of an expression over rows "old" and "new". It is parsed without '
  'its strings and never planned, so that no function of others runs.';

create or replace function pgstream._check_clocks(
  expression text, row_type text, path text
) returns boolean
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_clock constant text := '''[^'']*(now|today|tomorrow|yesterday)';
  v_tree text;
begin
  if expression !~* v_clock then
    return true;
  elsif expression ~* ('\m(date|time|timetz|timestamp|timestamptz|zone)[\s(),0-9]*' || v_clock) then
    return false;
  end if;
  select a.tree into v_tree
  from pgstream._analyse_expression(expression, row_type, path, 'pg_catalog.text') a;
  return (select j.problem is null from pgstream._judge_tree(v_tree) j);
exception when others then
  return false;
end
$$;

comment on function pgstream._check_clocks is
  'False where a string such as ''today'' is a date or time: it means another one at each reading.';

create or replace function pgstream._check_strings(
  expression text, row_type text, out problem text, out state text
)
  language plpgsql volatile parallel unsafe security definer
  -- definer: creates a type and a view in schema pgstream, and takes them back before it returns
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
  set transform_null_equals = off
  set array_nulls = on
  set timezone = 'UTC'
  set datestyle = 'ISO'
  set intervalstyle = 'postgres'
as $$
declare
  v_probe constant text := format('probe_%s', pg_backend_pid());
  v_text constant text := (
    select string_agg(case when t.token ~ '^[''"]' then left(t.token, 1) else t.token end, '')
    from unnest(pgstream._expression_tokens(
      regexp_replace(expression, '\mpg_catalog\s*\.', '', 'gi'))) t(token));
begin
  -- What a schema of others is named for could be another thing by the time it is parsed, and so
  -- could the bare name of a type in a session that has temporary ones.
  if regexp_replace(
       v_text,
       '(?<![^\x01-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f])((new|old|pgstream_event)\s*\.|\d+\.)'
       '|\.\d+', '', 'gi') ~ '\.'
    or v_text ~* '((::|\mas|\mreturning)\s*(new|old|pgstream_event)|\moperator)\M'
    or v_text ~ '\.\s*("|[^\s.()''"]+)\s*[(''"]'
    or exists (select from pg_type t where t.typnamespace = pg_my_temp_schema())
  then
    return;
  end if;
  execute format('create type pgstream.%I as (%s)', v_probe, coalesce(row_type, ''));
  if (
    select coalesce(bool_and(pgstream._is_harmless_type(a.atttypid)), true)
    from pg_attribute a
    where a.attrelid = to_regclass(format('pgstream.%I', v_probe)) and a.attnum > 0
  ) then
    execute format(
      'create view pgstream.%1$I (result) as '
      'select (select (%2$s) from (select null::pg_catalog.text, null::pg_catalog.timestamptz) '
      'as pgstream_event(op, pgstream_committed_at)) '
      'from pg_catalog.jsonb_populate_recordset(null::pgstream.%3$I, null::pg_catalog.jsonb) '
      'as old, '
      'pg_catalog.jsonb_populate_recordset(null::pgstream.%3$I, null::pg_catalog.jsonb) as new',
      format('%s_view', v_probe), expression, v_probe);
  end if;
  raise exception using errcode = 'PGSRB';
exception
  when sqlstate 'PGSRB' then
    return;
  when data_exception then
    problem := sqlerrm;
    state := sqlstate;
  when others then
    -- a name that stands for something only where the types of an extension are
    return;
end
$$;

comment on function pgstream._check_strings is
  'What Postgres says of a string that is no value of its type; null where it says nothing. The '
  'strings are read only where nothing that others have made can run: all names are of Postgres '
  'itself, and the columns are of harmless types, which are taken by their oids. row_type: the '
  'columns that the expression uses.';

create or replace function pgstream._is_harmless_type(type oid) returns boolean
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select t.typtype = 'e'
    or t.typtype in ('b', 'r', 'm') and t.typnamespace = 'pg_catalog'::regnamespace
  from pg_type y
  join pg_type t on t.oid = case when y.typcategory = 'A' then y.typelem else y.oid end
  where y.oid = type
$$;

comment on function pgstream._is_harmless_type is
  'Whether reading a string as the type runs nothing that others have made: types of Postgres, '
  'plain enums, and arrays of these.';
