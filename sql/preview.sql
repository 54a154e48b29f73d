create or replace function pgstream._json_value(type oid, value text) returns text
  language sql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select case
    when value is null then 'null'
    when type in ('bigint'::regtype, 'smallint'::regtype, 'integer'::regtype, 'oid'::regtype,
                  'real'::regtype, 'double precision'::regtype, 'numeric'::regtype) then
      case when value ~ '^-?[NI]' then 'null' else value end
    when type = 'boolean'::regtype then case value when 't' then 'true' else 'false' end
    when type = 'bytea'::regtype then format('"%s"', substr(value, 3))
    else to_json(value)::text
  end
$$;

comment on function pgstream._json_value is
  'The text of a value as the body of an event has it; the same as JsonWriter of the runner.';

create or replace function pgstream._preview_columns(rel regclass, row_values jsonb, wanted name[])
  returns text
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set timezone = 'UTC'
  set datestyle = 'ISO'
  set intervalstyle = 'postgres'
  set extra_float_digits = 1
  set bytea_output = 'hex'
as $$
declare
  v_row_type text;
  v_values text;
  v_texts text[];
begin
  if row_values is null then
    return null;
  end if;
  select string_agg(format('%I %s', c.name, coalesce(c.type, 'text')), ', ' order by c.number),
         -- A cast to text is not what the output function of each type says.
         string_agg(
           format('case when r.%1$I is not null then format(''%%s'', r.%1$I) end', c.name), ', '
           order by c.number)
  into v_row_type, v_values
  from pgstream._expression_columns(rel) c
  where c.problem is distinct from 'generated';
  execute format('select array[%s] from jsonb_to_record($1) as r(%s)', v_values, v_row_type)
    into v_texts using row_values;
  -- Types are named as the runner sees them.
  perform set_config('search_path', 'public', true);
  return format('[%s]', (
    select pg_catalog.string_agg(
      pg_catalog.format(
        '{"id":"","name":%s,"type":%s,"value":%s}', pg_catalog.to_json(c.name),
        pg_catalog.to_json(pg_catalog.format_type(a.atttypid, a.atttypmod)),
        pgstream._json_value(a.atttypid, v_texts[c.n])), ',' order by c.n)
    from (
      select e.number, e.name, pg_catalog.row_number() over (order by e.number) as n
      from pgstream._expression_columns(rel) e
      where e.problem is distinct from 'generated'
    ) c
    join pg_catalog.pg_attribute a on a.attrelid = rel and a.attnum = c.number
    where wanted is null or c.name = any (wanted)));
end
$$;

comment on function pgstream._preview_columns is
  'A row, or some columns of it, as the list of columns in the body of an event.';

create or replace function pgstream._preview_program(
  program jsonb, op text, old_row jsonb, new_row jsonb, out matches boolean, out payload text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
  set transform_null_equals = off
  set array_nulls = on
  set timezone = 'UTC'
  set datestyle = 'ISO'
  set intervalstyle = 'postgres'
  set extra_float_digits = 1
  set bytea_output = 'hex'
  set lc_numeric = 'C'
  set lc_time = 'C'
  set default_text_search_config = 'pg_catalog.simple'
as $$
declare
  v_within constant text := '(select (%s) from (select $3::text, now()) '
    'as pgstream_event(op, pgstream_committed_at))';
  v_filter constant text := format(v_within, coalesce(program ->> 'filter', 'true'));
  v_payload constant text := format(v_within, coalesce(program ->> 'payload', 'null::jsonb'));
  v_from text;
begin
  select string_agg(
    format('jsonb_to_record($%s) as %s(%s)', s.parameter, s.side, coalesce((
      select string_agg(
        format('%I %s%s', c.name, c.type, ' collate ' || c."collation"), ', ' order by c.number)
      from jsonb_to_recordset(program -> 'columns')
        as c("row" text, name name, type text, "collation" text, number integer)
      where c."row" = s.side), 'pgstream_none text')), ', ')
  into v_from
  from (values ('old', 1), ('new', 2)) s(side, parameter);
  perform set_config('search_path', program ->> 'path', true);
  execute format(
    'select %s, case when %s then %s::text end from %s', v_filter, v_filter, v_payload, v_from)
    into matches, payload using coalesce(old_row, '{}'), coalesce(new_row, '{}'), op;
end
$$;

comment on function pgstream._preview_program is
  'What a program says to rows given as JSON, with the rights of the caller.';

create or replace function pgstream.preview(
  subscription bigint, new jsonb default null, old jsonb default null,
  out op text, out sent boolean, out body text, out headers jsonb, out problem text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set timezone = 'UTC'
  set datestyle = 'ISO'
as $$
declare
  v_subscription pgstream.webhook_subscriptions;
  v_program jsonb;
  v_rel regclass;
  v_matches boolean;
begin
  select s.* into v_subscription
  from pgstream.webhook_subscriptions s
  where s.id = preview.subscription;
  if v_subscription.id is null then
    raise exception 'there is no subscription %', preview.subscription
      using errcode = 'no_data_found',
            hint = 'See select id, name, url from pgstream.webhook_subscriptions;';
  elsif pgstream._is_pattern(v_subscription.schema_name)
     or pgstream._is_pattern(v_subscription.table_name) then
    raise exception 'subscription % is to several tables', preview.subscription
      using errcode = 'feature_not_supported', hint = 'Preview one that names its table.';
  end if;
  select c.oid into v_rel
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = v_subscription.schema_name and c.relname = v_subscription.table_name;
  if v_rel is null then
    raise exception 'there is no table %.%', quote_ident(v_subscription.schema_name),
      quote_ident(v_subscription.table_name)
      using errcode = 'undefined_table', hint = 'Create it first.';
  end if;
  op := case when preview.old is null then case when preview.new is null then 'T' else 'I' end
    else case when preview.new is null then 'D' else 'U' end end;
  headers := v_subscription.headers || '{"content-type": "application/json"}';
  sent := coalesce(
    v_subscription.event_types = '{}' or op = any (v_subscription.event_types), true);
  if not sent then
    return;
  end if;

  begin
    -- checked anew, so that nothing else is evaluated than what was checked
    v_program := pgstream._compile_program(
      v_subscription.schema_name, v_subscription.table_name, v_subscription.event_types,
      v_subscription.filter, v_subscription.payload, v_subscription.owner);
    if v_program is not null then
      problem := pgstream._untrusted_type(
        array(select jsonb_array_elements_text(v_program -> 'types')));
      if problem is not null then
        sent := null;
        return;
      end if;
      select p.matches, p.payload into v_matches, body
      from pgstream._preview_program(v_program, op, preview.old, preview.new) p;
      sent := coalesce(v_matches, false)
              and (v_subscription.payload is null or body is not null);
    end if;
    if sent and v_subscription.payload is null then
      if v_subscription.format <> 'pgstream' then
        problem := format('bodies of format %s are made by the runner only',
                          v_subscription.format);
        return;
      end if;
      body := format(
        '{"Data":{"action":"%s","timestamp":"%s","lsn":"0/0","schema":%s,"table":%s,'
        '"columns":%s,"identity":%s,"metadata":{"schema_id":null,"table_pgstream_id":"",'
        '"id_col_pgstream_id":null,"version_col_pgstream_id":""}}}',
        op, now(),
        to_json(v_subscription.schema_name), to_json(v_subscription.table_name),
        coalesce(pgstream._preview_columns(v_rel, preview.new, null), 'null'),
        case when op in ('U', 'D') then coalesce(pgstream._preview_columns(
          v_rel, preview.old, pgstream._identity_columns(v_rel)), '[]') else 'null' end);
    end if;
  exception when others then
    sent := false;
    body := null;
    problem := sqlerrm;
  end;
end
$$;

comment on function pgstream.preview is
  'What a subscription would be sent for a row given as JSON, e.g. to_jsonb(orders): new alone is '
  'an insert, old alone a delete, both an update. sent: whether it would be; body and headers, '
  'without those of an attempt (ids, time, signature); problem: why there is no verdict. Runs with '
  'the rights of the caller, and sends nothing.';
