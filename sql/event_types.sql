-- The event types of subscriptions, I, U, D and T for row changes and names for business events,
-- and the format that they are sent in.

create or replace function pgstream._is_business_type(type text) returns boolean
  language sql immutable strict parallel safe
  return type ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$' and length(type) <= 200;

comment on function pgstream._is_business_type is
  'Whether the text is words of letters, digits, _ and - with full stops between, two at least.';

create or replace function pgstream._is_row_type(type text) returns boolean
  language sql immutable strict parallel safe
  return type in ('I', 'U', 'D', 'T', '*');

comment on function pgstream._is_row_type is
  'Whether an event type of a subscription stands for row changes.';

create or replace function pgstream._check_event_types(event_types text[]) returns void
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_type text;
begin
  foreach v_type in array coalesce(event_types, '{}') loop
    if v_type is null or not (
      pgstream._is_row_type(v_type)
      or pgstream._is_business_type(regexp_replace(v_type, '\.\*$', '.all'))
    ) then
      raise exception 'unknown event type %', coalesce(to_json(v_type)::text, 'null')
        using errcode = 'invalid_parameter_value',
              detail = format('event_types: %s', event_types),
              hint = 'Event types are I (insert), U (update), D (delete) and T (truncate); null '
                     'stands for all of them. Business events are named in full or by their '
                     'beginning, e.g. order.paid or order.*, and * stands for everything.';
    end if;
  end loop;
end
$$;

comment on function pgstream._check_event_types is
  'Fails with 22023 unless each element is one of I, U, D and T, a type of business events, the '
  'beginning of one with .*, or *.';

create or replace function pgstream._check_business_types(
  event_types text[], schema_name text, table_name text
) returns void
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_type text;
begin
  select t.type into v_type
  from unnest(event_types) t(type)
  where not pgstream._is_row_type(t.type)
  limit 1;

  if v_type is not null and (schema_name <> '' or table_name <> '') then
    raise exception 'business event "%" is of no schema and no table', v_type
      using errcode = 'invalid_parameter_value',
            detail = format('schema_name: %L, table_name: %L', schema_name, table_name),
            hint = 'Leave schema_name and table_name empty, and subscribe to row changes in a row '
                   'of its own.';
  end if;
end
$$;

comment on function pgstream._check_business_types is
  'Fails with 22023 where business events are subscribed to together with a schema or a table.';

create or replace function pgstream._check_format(
  format text, batch_size integer, headers jsonb
) returns void
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_header text;
begin
  if format not in ('pgstream', 'standard', 'cloudevents', 'cloudevents_binary', 'debezium') then
    raise exception 'unknown format "%"', format
      using errcode = 'invalid_parameter_value',
            hint = 'Formats are pgstream, standard, cloudevents, cloudevents_binary and debezium.';
  elsif format <> 'cloudevents_binary' then
    return;
  elsif batch_size > 1 then
    raise exception 'events in format cloudevents_binary cannot be sent in batches'
      using errcode = 'invalid_parameter_value',
            detail = pg_catalog.format('batch_size: %s', batch_size),
            hint = 'Set batch_size to 1, or format to ''cloudevents''.';
  end if;
  select h.name into v_header from jsonb_object_keys(headers) h(name) where lower(h.name) ^@ 'ce-';
  if v_header is not null then
    raise exception 'header "%" is set by pgstream', v_header
      using errcode = 'invalid_parameter_value',
            detail = 'In format cloudevents_binary headers that begin with ce- tell of the event.',
            hint = 'Leave it out.';
  end if;
end
$$;

comment on function pgstream._check_format is
  'Fails with 22023 unless it is a format that the other columns of the subscription allow.';

create or replace function pgstream._wants_rows(event_types text[], op text) returns boolean
  language sql immutable parallel safe
  return coalesce(event_types = '{}' or event_types && array[op, '*'], true);

comment on function pgstream._wants_rows is
  'Whether a subscription with these event types is to row changes of this kind.';

create or replace function pgstream._wants_business(event_types text[], type text) returns boolean
  language sql immutable parallel safe
begin atomic
  select coalesce(bool_or(
    w.wanted in (_wants_business.type, '*')
    or w.wanted like '%.*' and _wants_business.type ^@ rtrim(w.wanted, '*')), false)
  from unnest(event_types) w(wanted);
end;

comment on function pgstream._wants_business is
  'Whether a subscription with these event types is to business events of this type.';
