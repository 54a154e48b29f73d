create or replace function pgstream.is_system_schema(schema_name text) returns boolean
  language sql immutable strict parallel safe
  return schema_name in ('pgstream', 'pgroll', 'information_schema') or schema_name ^@ 'pg_';

comment on function pgstream.is_system_schema is
  'True for schemas whose changes are never logged: those of Postgres, of pgstream, of pgroll.';

create or replace function pgstream._is_pattern(name text) returns boolean
  language sql immutable strict parallel safe
  return name = '' or name ~ '[*?]';

comment on function pgstream._is_pattern is
  'True when the name in a subscription can stand for more than one name.';

create or replace function pgstream._name_matches(name text, pattern text) returns boolean
  language sql immutable strict parallel safe
  return pattern = ''
    or name like
       translate(
         replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'),
         '*?', '%_');

comment on function pgstream._name_matches is
  'Whether a name fits the pattern of a subscription: * is any run of characters, ? any one, '
  'the empty pattern everything.';

create or replace function pgstream._printed_type(type oid, typmod integer) returns text
  language sql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
  select case
    when format_type(type, null) ^@ 'public.'
      -- bare, it would be the one of pg_catalog
      and to_regtype(regexp_replace(format_type(type, null), '^public', 'pg_catalog')) is null
      then regexp_replace(format_type(type, typmod), '^public\.', '')
    else format_type(type, typmod)
  end
$$;

comment on function pgstream._printed_type is
  'The name of a type in events: those of pg_catalog and public bare, others with their schema.';
