-- The requests of webhooks as text, made in SQL for previews: what src/event and src/delivery make
-- of the log. A test holds the two equal byte for byte.
--
-- A table is told as {"schema", "table", "database", "columns", "metadata"}, its columns as
-- {"name", "type", "oid", "identity", "id"}; a row as an object of the text of each value.

create or replace function pgstream._event_value(type oid, value text, is_object boolean)
  returns text
  language sql immutable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
  select case
    when value is null then 'null'
    when type in ('bigint'::regtype, 'smallint'::regtype, 'integer'::regtype, 'oid'::regtype,
                  'real'::regtype, 'double precision'::regtype, 'numeric'::regtype) then
      case when value !~ '^-?[NI]' then value when is_object then to_json(value)::text
        else 'null' end
    when type = 'boolean'::regtype then case value when 't' then 'true' else 'false' end
    when type = 'bytea'::regtype then format('"%s"', substr(value, 3))
    when is_object and type in ('json'::regtype, 'jsonb'::regtype) then
      regexp_replace(value, '[\u0001-\u001f]', ' ', 'g')
    else to_json(value)::text
  end
$$;

comment on function pgstream._event_value is
  'The text of a value as the body of an event has it. is_object: in formats other than pgstream.';

create or replace function pgstream._event_row(
  columns jsonb, row_texts jsonb, is_object boolean, only_identity boolean
) returns text
  language sql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select format(case when is_object then '{%s}' else '[%s]' end, string_agg(
      case
        when is_object then format('%s:%s', c.column_json -> 'name', v.value)
        else format('{"id":%s,"name":%s,"type":%s,"value":%s}', c.column_json -> 'id',
                    c.column_json -> 'name', c.column_json -> 'type', v.value)
      end, ',' order by c.n))
  from jsonb_array_elements(columns) with ordinality c(column_json, n)
  cross join lateral (
    select pgstream._event_value(
      (c.column_json ->> 'oid')::oid, row_texts ->> (c.column_json ->> 'name'), is_object)
  ) v(value)
  where row_texts ? (c.column_json ->> 'name')
    and (not only_identity or (c.column_json ->> 'identity')::boolean)
$$;

comment on function pgstream._event_row is
  'A row, or its replica identity, as the body of an event has it: a list of columns, or an '
  'object.';

create or replace function pgstream._event_type(about jsonb, op text) returns text
  language sql immutable strict parallel safe
begin atomic
  select case when about ->> 'schema' = '' then op
    else format('%s.%s.%s', about ->> 'schema', about ->> 'table',
                case op when 'I' then 'inserted' when 'U' then 'updated' when 'D' then 'deleted'
                  else 'truncated' end)
  end;
end;

comment on function pgstream._event_type is
  'The type of an event in the formats that have one, e.g. public.orders.updated.';

create or replace function pgstream._percent_encoded(value text, kept text) returns text
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
  select string_agg(
    case when c.letter ~ kept collate "C" then c.letter
      else regexp_replace(upper(encode(convert_to(c.letter, 'UTF8'), 'hex')), '(..)', '%\1', 'g')
    end, '' order by c.n)
  from regexp_split_to_table(value, '') with ordinality c(letter, n)
$$;

comment on function pgstream._percent_encoded is
  'A text with all characters that do not fit the pattern as percent-encoded UTF-8.';

create or replace function pgstream._event_source(about jsonb) returns text
  language sql stable strict parallel safe
begin atomic
  select format('/pgstream/%s',
                pgstream._percent_encoded(about ->> 'database', '^[A-Za-z0-9_.!~*''()-]$'));
end;

comment on function pgstream._event_source is 'The source of CloudEvents.';

create or replace function pgstream._event_time(at timestamptz) returns text
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
  set timezone = 'UTC'
  set datestyle = 'ISO'
as $$
  select regexp_replace(at::text, '^(.{10}) (.*)[+]00$', '\1T\2Z')
$$;

comment on function pgstream._event_time is 'A time as RFC 3339 has it.';

create or replace function pgstream._event_body(
  format text, about jsonb, op text, new jsonb, old jsonb, is_logged boolean, data jsonb,
  event_id text, committed_at timestamptz
) returns text
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set timezone = 'UTC'
  set datestyle = 'ISO'
as $$
declare
  v_is_object constant boolean := format <> 'pgstream';
  v_is_row constant boolean := about ->> 'schema' <> '';
  v_type constant text := to_json(pgstream._event_type(about, op))::text;
  v_source text := to_json(pgstream._event_source(about))::text;
  v_rfc3339 constant text := pgstream._event_time(committed_at);
  v_microseconds constant bigint := extract(epoch from committed_at) * 1000000;
  v_milliseconds constant bigint := v_microseconds / 1000;
  v_metadata constant text :=
    case when about ? 'metadata' then pg_catalog.format(',"metadata":%s', about ->> 'metadata') end;
  v_after text := 'null';
  v_before text := 'null';
  v_data text;
begin
  if not v_is_row then
    v_data := data::text;
  else
    if op in ('I', 'U') then
      v_after := pgstream._event_row(about -> 'columns', new, v_is_object, false);
    end if;
    if op = 'D' or op = 'U' and (is_logged or format <> 'debezium') then
      v_before := pgstream._event_row(about -> 'columns', old, v_is_object, true);
    end if;
    v_data := pg_catalog.format('{"new":%s,"old":%s%s}', v_after, v_before, v_metadata);
  end if;
  case
    when format = 'pgstream' and v_is_row then
      return pg_catalog.format(
        '{"Data":{"action":"%s","timestamp":"%s","lsn":"0/0","schema":%s,"table":%s,"columns":%s,'
        '"identity":%s,"metadata":%s}}',
        op, committed_at, about -> 'schema', about -> 'table', v_after, v_before,
        coalesce(about ->> 'metadata',
                 '{"schema_id":null,"table_pgstream_id":"","id_col_pgstream_id":null,'
                 '"version_col_pgstream_id":""}'));
    when format in ('pgstream', 'standard') then
      return pg_catalog.format(
        '{"type":%s,"timestamp":"%s","data":%s}', v_type, v_rfc3339, v_data);
    when format = 'cloudevents' then
      return pg_catalog.format(
        '{"specversion":"1.0","id":%s,"source":%s,"type":%s,%s"time":"%s",'
        '"datacontenttype":"application/json","data":%s}',
        to_json(event_id), v_source, v_type,
        case when v_is_row then pg_catalog.format('"subject":%s,', to_json(
          pg_catalog.format('%s.%s', about ->> 'schema', about ->> 'table'))) end,
        v_rfc3339, v_data);
    when format = 'cloudevents_binary' then
      return v_data;
    when format = 'debezium' then
      v_source := pg_catalog.format(
        '{"version":"1","connector":"pgstream","name":%1$s,"ts_ms":%2$s,"ts_us":%3$s,'
        '"snapshot":"false","db":%1$s,"schema":%4$s,"table":%5$s,"txId":0,"lsn":0%6$s}',
        about -> 'database', v_milliseconds, v_microseconds, about -> 'schema', about -> 'table',
        v_metadata);
      if v_is_row then
        return pg_catalog.format(
          '{"before":%s,"after":%s,"source":%s,"transaction":null,"op":"%s","ts_ms":%s}',
          v_before, v_after, v_source, translate(op, 'IUDT', 'cudt'), v_milliseconds);
      end if;
      return pg_catalog.format(
        '{"op":"m","ts_ms":%s,"source":%s,"message":{"prefix":%s,"content":%s}}',
        v_milliseconds, v_source, v_type, v_data);
  end case;
end
$$;

comment on function pgstream._event_body is
  'The body of an event. Where it stands in the log is not known: lsn and transaction are zero.';

create or replace function pgstream._event_headers(
  format text, is_array boolean, about jsonb, op text, event_id text, committed_at timestamptz
) returns jsonb
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select case format
    when 'cloudevents' then jsonb_build_object(
      'content-type', case when is_array then 'application/cloudevents-batch+json'
        else 'application/cloudevents+json' end)
    when 'cloudevents_binary' then jsonb_strip_nulls(jsonb_build_object(
      'content-type', 'application/json',
      'ce-specversion', '1.0',
      'ce-id', event_id,
      'ce-source', pgstream._event_source(about),
      'ce-type', pgstream._percent_encoded(pgstream._event_type(about, op), '^[!#$&-~]$'),
      'ce-subject', case when about ->> 'schema' <> '' then pgstream._percent_encoded(
        pg_catalog.format('%s.%s', about ->> 'schema', about ->> 'table'), '^[!#$&-~]$') end,
      'ce-time', pgstream._event_time(committed_at)))
    else '{"content-type": "application/json"}'
  end
$$;

comment on function pgstream._event_headers is 'The headers that the format of a body asks for.';
