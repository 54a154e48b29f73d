create or replace function pgstream._is_address(host text) returns boolean
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
begin
  return host is null or host::inet is not null;
exception when invalid_text_representation then
  return false;
end
$$;

comment on function pgstream._is_address is
  'Whether the text is an IP address; true for null.';

create or replace function pgstream._check_url(url text) returns void
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
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
     or v_port is not null and v_port::integer not between 1 and 65535
     or not pgstream._is_address(substring(v_authority from '^\[(.*)\]'))
     or not pgstream._is_address(substring(v_authority from '^([0-9]+(\.[0-9]+){3})(?::|$)')) then
    raise exception 'the url has no valid host and port'
      using errcode = 'invalid_parameter_value', detail = format('url: %s', url),
            hint = 'Write it in full, e.g. https://example.com:8443/webhook';
  end if;
end
$$;

comment on function pgstream._check_url is
  'Fails with 22023 unless the argument is an http or https URL without credentials.';

create or replace function pgstream._check_event_types(event_types text[]) returns void
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_type text;
begin
  foreach v_type in array coalesce(event_types, '{}') loop
    if v_type is null or v_type not in ('I', 'U', 'D', 'T') then
      raise exception 'unknown event type %', coalesce(to_json(v_type)::text, 'null')
        using errcode = 'invalid_parameter_value',
              detail = format('event_types: %s', event_types),
              hint = 'Event types are I (insert), U (update), D (delete) and T (truncate); null '
                     'stands for all of them.';
    end if;
  end loop;
end
$$;

comment on function pgstream._check_event_types is
  'Fails with 22023 unless each element is one of I, U, D and T.';

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
    elsif lower(v_header.key) ^@ 'webhook-'
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
as $$
declare
  v_secret text;
  v_base64 text;
begin
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
    end if;
  end loop;
end
$$;

comment on function pgstream._check_secret is
  'Fails with 22023, without quoting it, unless the argument is null or secrets of the Standard '
  'Webhooks specification, separated by white space.';

create or replace function pgstream._check_table(
  schema_name text, table_name text, event_types text[]
) returns void
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
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
  elsif coalesce(event_types = '{}' or event_types && '{U,D}', true)
    and not pgstream._has_replica_identity(v_table.rel) then
    raise warning '% has no replica identity: its updates and deletes are not sent', v_table.rel
      using hint = format('Give it a primary key, or: alter table %s replica identity full;',
                          v_table.rel);
  end if;
end
$$;

comment on function pgstream._check_table is
  'Refuses (0A000) a subscription to something that has no row changes, and says what to expect '
  'of a table that does not exist yet, is a partition, or has no replica identity.';

create or replace function pgstream._check_subscription() returns trigger
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgstream._check_url(new.url);
  perform pgstream._check_event_types(new.event_types);
  perform pgstream._check_headers(new.headers);
  perform pgstream._check_secret(new.secret);
  perform pgstream._check_table(new.schema_name, new.table_name, new.event_types);
  if new.enabled then
    new.disabled_reason := null;
  end if;
  new := pgstream._check_program(new, old);
  return new;
end
$$;

comment on function pgstream._check_subscription is
  'Trigger: refuses a subscription that could never work, with a hint.';

create or replace function pgstream._log_subscription() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may subscribe need not be able to write pgstream.subscription_changes
  set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'TRUNCATE' then
    insert into pgstream.subscription_changes (subscription, definition)
    select l.subscription, null
    from (
      select distinct on (c.subscription) c.subscription, c.definition
      from pgstream.subscription_changes c
      order by c.subscription, c.id desc
    ) l
    where l.definition is not null;
  elsif tg_op = 'DELETE' then
    insert into pgstream.subscription_changes (subscription, definition) values (old.id, null);
  else
    insert into pgstream.subscription_changes (subscription, definition)
    values (new.id, jsonb_build_object(
      'id', new.id,
      'url', new.url,
      'schema', new.schema_name,
      'table', new.table_name,
      'eventTypes', array(select unnest(new.event_types)),
      'headers', new.headers,
      'maxInFlight', new.max_in_flight,
      'timeoutMs', (extract(epoch from new.timeout) * 1000)::integer,
      'injectMetadata', new.inject_metadata,
      'enabled', new.enabled,
      'ordering', new.ordering,
      'rate', new.rate,
      'batchSize', new.batch_size,
      'batchWaitMs', (extract(epoch from new.batch_wait) * 1000)::integer,
      'retryForMs', (extract(epoch from new.retry_for) * 1000)::bigint,
      'onExhausted', new.on_exhausted,
      'spillQuota', new.spill_quota,
      'onQuota', new.on_quota,
      'secret', new.secret,
      'filter', new.filter,
      'payload', new.payload,
      'program', new.program,
      'invalidReason', new.invalid_reason,
      'format', new.format,
      'owner', new.owner
    ));
  end if;
  return null;
end
$$;

comment on function pgstream._log_subscription is
  'Trigger: appends the new state of a subscription to pgstream.subscription_changes.';

create or replace function pgstream._publish_subscribed_tables() returns trigger
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' and current_setting('pgstream.recheck', true) = 'on' then
    return null;
  elsif current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'subscriptions cannot be changed in a % transaction',
      upper(current_setting('transaction_isolation'))
      using errcode = 'feature_not_supported',
            detail = 'It does not see which tables others have published or made since it began.',
            hint = 'begin isolation level read committed;';
  elsif pgstream._try_lock('membership') then
    perform pgstream.sync_publications();
  elsif tg_op not in ('DELETE', 'TRUNCATE') then
    perform pgstream._refuse_locked('the set of subscriptions and tables is');
  end if;
  return null;
end
$$;

comment on function pgstream._publish_subscribed_tables is
  'Trigger: publishes what the subscriptions can match, in the transaction that changes them. '
  'Tables that nobody wants any more may stay published until the next change.';

create or replace trigger check_subscription
  before insert or update on pgstream.webhook_subscriptions
  for each row execute function pgstream._check_subscription();

create or replace trigger log_subscription
  after insert or update or delete on pgstream.webhook_subscriptions
  for each row execute function pgstream._log_subscription();

create or replace trigger log_truncate
  after truncate on pgstream.webhook_subscriptions
  for each statement execute function pgstream._log_subscription();

create or replace trigger publish_subscribed_tables
  after insert or update or delete or truncate on pgstream.webhook_subscriptions
  for each statement execute function pgstream._publish_subscribed_tables();
