create or replace function pgstream._check_url(url text) returns void
  language plpgsql stable parallel safe
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
      using hint = format('Give it a primary key, or: alter table %s replica identity full;',
                          v_table.rel);
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

create or replace function pgstream._check_subscription() returns trigger
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may subscribe need not be able to call what checks a subscription
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgstream._check_url(new.url);
  perform pgstream._check_event_types(new.event_types);
  perform pgstream._check_business_types(new.event_types, new.schema_name, new.table_name);
  perform pgstream._check_headers(new.headers);
  perform pgstream._check_format(new.format, new.batch_size, new.headers);
  perform pgstream._check_sizes(
    new.url, new.schema_name, new.table_name, new.name, new.headers);
  new.secret := pgstream._keep_secret(
    new.id, new.owner, case when tg_op = 'UPDATE' then old.secret end, new.secret);
  perform pgstream._check_table(new.schema_name, new.table_name, new.event_types);
  if tg_op = 'INSERT' or (new.owner, new.schema_name, new.table_name)
    is distinct from (old.owner, old.schema_name, old.table_name) then
    perform pgstream._check_rights(new.owner, new.schema_name, new.table_name);
  end if;
  if tg_op = 'INSERT'
    or (new.owner, new.event_types) is distinct from (old.owner, old.event_types) then
    perform pgstream._check_listener(new.owner, new.event_types);
  end if;
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
  language plpgsql volatile parallel unsafe security definer
  -- definer: whoever may subscribe owns neither the publications nor the tables
  set search_path = pg_catalog, pg_temp
as $$
begin
  notify pgstream_subscriptions;
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
  'Trigger: publishes what the subscriptions can match, in the transaction that changes them, and '
  'notifies runners elsewhere that they have changed. Tables that nobody wants any more may stay '
  'published until the next change.';

create or replace function pgstream._disable_subscription(subscription bigint, reason text)
  returns void
  language sql volatile parallel unsafe security definer
  -- definer: a runner may change nothing else of the subscriptions of others
  set search_path = pg_catalog, pg_temp
begin atomic
  update pgstream.webhook_subscriptions s
  set enabled = false, disabled_reason = reason
  where s.id = subscription and s.enabled;
end;

comment on function pgstream._disable_subscription is
  'Disables a subscription that is not disabled yet; for runners.';

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
