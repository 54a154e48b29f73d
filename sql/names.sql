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
