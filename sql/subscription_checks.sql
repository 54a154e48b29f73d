-- What is known to be wrong with a subscription when it is written.

create or replace function pgstream._check_url(url text) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_authority text := substring(url from '^[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)');
  v_port text := substring(v_authority from ':([0-9]*)$');
begin
  if url ~ '[[:space:][:cntrl:]]' then
    raise exception 'the url contains white space or a control character'
      using errcode = 'invalid_parameter_value', detail = format('url: %s', url),
            hint = 'Percent-encode it, e.g. %20 for a space.';
  elsif v_authority is null then
    raise exception 'the url is not an http or https URL'
      using errcode = 'invalid_parameter_value', detail = format('url: %s', url),
            hint = 'Write it in full, e.g. https://example.com/webhook';
  elsif v_authority ~ '@' then
    raise exception 'the url contains a user name or password'
      using errcode = 'invalid_parameter_value',
            hint = 'Put credentials into headers, e.g. '
                   'headers => ''{"authorization": "Bearer ..."}''';
  elsif v_authority !~ '^(\[[0-9A-Fa-f:.]+\]|[^]:/?#[@<>\\^|%`{}"]+)(:[0-9]{1,5})?$'
     or v_port is not null and v_port::integer not between 1 and 65535 then
    raise exception 'the url has no valid host and port'
      using errcode = 'invalid_parameter_value', detail = format('url: %s', url),
            hint = 'Write it in full, e.g. https://example.com:8443/webhook';
  end if;
  perform pgstream._check_address(url, substring(v_authority from '^(\[.*\]|[^:]*)'));
end
$$;

comment on function pgstream._check_url is
  'Fails with 22023 unless the argument is an http or https URL without credentials, to a host '
  'that webhooks may be sent to.';

create or replace function pgstream._check_headers(headers jsonb) returns void
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_header record;
begin
  if jsonb_typeof(headers) is distinct from 'object' then
    raise exception 'headers is not a JSON object'
      using errcode = 'invalid_parameter_value',
            hint = 'Write one, e.g. {"authorization": "Bearer ..."}';
  end if;
  for v_header in select key, value from jsonb_each(headers) loop
    if v_header.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' then
      raise exception '"%" is not a header name', v_header.key
        using errcode = 'invalid_parameter_value',
              hint = 'A name has letters, digits and any of !#$%&''*+-.^_`|~';
    elsif lower(v_header.key) ^@ 'webhook-' or lower(v_header.key) ^@ 'pgstream-'
       or lower(v_header.key) in ('content-length', 'transfer-encoding', 'connection', 'host',
                                  'content-type', 'keep-alive', 'upgrade', 'expect', 'te') then
      raise exception 'header "%" is set by pgstream', v_header.key
        using errcode = 'invalid_parameter_value', hint = 'Leave it out.';
    elsif jsonb_typeof(v_header.value) <> 'string'
       or v_header.value #>> '{}' !~ '^[ -~]*$' then
      raise exception 'the value of header "%" is not a string of printable ASCII', v_header.key
        using errcode = 'invalid_parameter_value',
              hint = 'Write {"name": "value"}, without line breaks; encode anything else.';
    end if;
  end loop;
end
$$;

comment on function pgstream._check_headers is
  'Fails with 22023 unless the argument is an object of header names and printable values.';

create or replace function pgstream._check_secret(secret text) returns void
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_secret text;
  v_base64 text;
begin
  if secret ~ '^\s*sealed:v1:[0-9a-f]{8}:[A-Za-z0-9_-]+\s*$'
    and length(secret) between 60 and 4000 then
    return;
  end if;
  foreach v_secret in array coalesce(regexp_split_to_array(btrim(secret), '\s+'), '{}') loop
    v_base64 := substring(v_secret from '^wh(?:sec|sk)_([A-Za-z0-9+/]+={0,2})$');
    if v_base64 is null or length(v_base64) % 4 <> 0
       or length(decode(v_base64, 'base64')) not between 24 and 64
       or v_secret ^@ 'whsk_' and length(decode(v_base64, 'base64')) not in (32, 64) then
      raise exception 'a secret is not one of Standard Webhooks'
        using errcode = 'invalid_parameter_value',
              hint = 'Write whsec_ and 24 to 64 random bytes in base64, or whsk_ and an ed25519 '
                     'key of 32 or 64 bytes in base64; several, separated by spaces, are all '
                     'signed with.';
    elsif (
      select count(distinct get_byte(b.bytes, n.i)) < 12
      from (values (decode(v_base64, 'base64'))) b(bytes),
        generate_series(0, length(b.bytes) - 1) n(i)
    ) then
      raise exception 'a secret is not random'
        using errcode = 'invalid_parameter_value',
              detail = 'It is made of few different bytes.',
              hint = 'Let a machine make one, e.g. openssl rand -base64 32';
    end if;
  end loop;
end
$$;

comment on function pgstream._check_secret is
  'Fails with 22023, without quoting it, unless the argument is null, secrets of the Standard '
  'Webhooks specification, separated by white space, or what pgstream seal made of them.';

create or replace function pgstream._check_table(
  schema_name text, table_name text, event_types text[]
) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_table record;
begin
  if pgstream._is_pattern(schema_name) then
    return;
  elsif pgstream.is_system_schema(schema_name) then
    if (schema_name, table_name) <> ('pgstream', 'schema_log') then
      raise exception 'the changes of schema "%" are never sent', schema_name
        using errcode = 'feature_not_supported',
              hint = 'Of the system schemas, only pgstream.schema_log can be subscribed to.';
    end if;
    return;
  elsif pgstream._is_pattern(table_name) then
    return;
  end if;

  select c.oid::regclass as rel, c.relkind, c.relpersistence, c.relispartition into v_table
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = schema_name and c.relname = table_name;

  if v_table.rel is null then
    raise notice 'there is no table %.% yet', quote_ident(schema_name), quote_ident(table_name)
      using hint = 'Its events are sent from its creation on.';
  elsif v_table.relkind not in ('r', 'p') or v_table.relpersistence <> 'p' then
    raise exception '% is not a permanent table', v_table.rel
      using errcode = 'feature_not_supported',
            detail = 'Views, foreign, unlogged and temporary tables leave no row changes in the '
                     'log.',
            hint = 'Subscribe to the tables behind it.';
  elsif v_table.relispartition then
    raise notice '% is a partition: its events carry the name of the partitioned table',
      v_table.rel
      using hint = format('Subscribe to %s.', (
              select a.relid from pg_partition_ancestors(v_table.rel) a(relid)
              where not (select c.relispartition from pg_class c where c.oid = a.relid)));
  elsif coalesce(event_types = '{}' or event_types && '{U,D,*}', true)
    and not pgstream._has_replica_identity(v_table.rel) then
    raise warning '% has no replica identity: its updates and deletes are not sent', v_table.rel
      using hint = regexp_replace(
        pgstream._identity_remedy(v_table.rel), '^alter table .* full;$',
        'Give it a primary key, or: \&');
  end if;
end
$$;

comment on function pgstream._check_table is
  'Refuses (0A000) a subscription to something that has no row changes, and says what to expect '
  'of a table that does not exist yet, is a partition, or has no replica identity.';

create or replace function pgstream._check_sizes(
  url text, schema_name text, table_name text, name text, headers jsonb
) returns void
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
begin
  if octet_length(url) > 2000 then
    raise exception 'the url is longer than 2000 bytes'
      using errcode = 'invalid_parameter_value',
            detail = format('bytes: %s', octet_length(url)),
            hint = 'Put into headers what need not be in the url.';
  elsif octet_length(name) > 200 then
    raise exception 'the name is longer than 200 bytes'
      using errcode = 'invalid_parameter_value',
            detail = format('bytes: %s', octet_length(name)), hint = 'Shorten it.';
  elsif greatest(octet_length(schema_name), octet_length(table_name)) > 63 then
    raise exception 'no schema and no table has a name of more than 63 bytes'
      using errcode = 'name_too_long',
            detail = format('schema_name: %s, table_name: %s', schema_name, table_name),
            hint = 'Write it as it was cut off when it was created: \d';
  elsif (select count(*) > 50 or sum(octet_length(h.key) + octet_length(h.value)) > 8192
         from jsonb_each_text(headers) h) then
    raise exception 'there are more than 50 headers, or more than 8192 bytes of them'
      using errcode = 'invalid_parameter_value',
            hint = 'Servers refuse requests with larger heads.';
  end if;
end
$$;

comment on function pgstream._check_sizes is
  'Fails with 22023 or 42622 where something is longer than what could work.';
