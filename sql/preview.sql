create or replace function pgstream._preview_table(rel oid, owner name, with_ids boolean)
  returns jsonb
  language plpgsql stable parallel safe security definer
  -- definer: who previews need not be able to read the schema log and exemptions from row security
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_table record;
  v_right record;
  v_ids record;
begin
  select n.nspname, c.relname into v_table
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = rel;
  select r.columns, r.reason into v_right from pgstream._restrictions(owner, array[rel]) r;
  select i.* into v_ids
  from pgstream._preview_ids(rel, v_table.nspname, v_right.columns) i
  where with_ids;
  return jsonb_strip_nulls(jsonb_build_object(
    'schema', v_table.nspname,
    'table', v_table.relname,
    'database', current_database(),
    'denial', v_right.reason,
    'metadata', v_ids.metadata,
    'is_updatable', pgstream._has_replica_identity(rel),
    -- none is missing before pgstream init has made them
    'unpublished', (
      select jsonb_agg(p.pubname)
      from pg_publication p
      where p.pubname in ('pgstream_insert', 'pgstream_update') and v_table.nspname <> 'pgstream'
        and not exists (
          select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = rel)),
    'is_full', (
      select bool_and(c.relreplident = 'f')
      from pg_class c
      where c.oid = rel and c.relkind = 'r'
         or c.oid in (select t.relid from pg_partition_tree(rel) t where t.isleaf)),
    'columns', (
      select jsonb_agg(jsonb_build_object(
          'name', c.name,
          'type', pgstream._printed_type(a.atttypid, a.atttypmod),
          'oid', a.atttypid,
          'identity', c.name = any (pgstream._identity_columns(rel)),
          'id', coalesce(v_ids.columns ->> c.name, '')
        ) order by c.number)
      from pgstream._expression_columns(rel) c
      join pg_attribute a on a.attrelid = rel and a.attnum = c.number
      where c.problem is distinct from 'generated'
        and (v_right.columns is null or c.name = any (v_right.columns)))));
end
$$;

comment on function pgstream._preview_table is
  'What the bodies of a table''s events are made of, as the owner of a subscription is shown it; '
  'denial: why nothing of it is.';

create or replace function pgstream._preview_ids(
  rel oid, schema_name text, shown text[], out columns jsonb, out metadata text
)
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_version record;
  v_table jsonb;
  v_identity jsonb;
begin
  select l.id, l.version into v_version
  from pgstream.schema_log l
  where l.schema_name = _preview_ids.schema_name
  order by l.version desc
  limit 1;
  select t.document into v_table
  from jsonb_array_elements(
    pgstream.schema_at(schema_name, v_version.version) -> 'tables') t(document)
  where (t.document ->> 'oid')::oid = rel;
  if v_table is null then
    return;
  end if;
  select jsonb_object_agg(c.document ->> 'name', c.document -> 'pgstream_id') into columns
  from jsonb_array_elements(v_table -> 'columns') c(document);
  v_identity := coalesce(
    (select jsonb_agg(k.name order by k.n)
     from jsonb_array_elements_text(v_table -> 'primary_key_columns') with ordinality k(name, n)
     where columns ? k.name),
    (select jsonb_agg(u.name)
     from (
       select c.document ->> 'name' as name
       from jsonb_array_elements(v_table -> 'columns') with ordinality c(document, n)
       where (c.document ->> 'unique')::boolean and not (c.document ->> 'nullable')::boolean
       order by c.n
       limit 1
     ) u));
  metadata := format(
    '{"schema_id":%s,"table_pgstream_id":%s,"id_col_pgstream_id":%s,"version_col_pgstream_id":""}',
    to_json(v_version.id::text), v_table -> 'pgstream_id',
    coalesce((
      select format('[%s]', string_agg((columns -> k.name)::text, ',' order by k.n))
      from jsonb_array_elements_text(v_identity) with ordinality k(name, n)
      where shown is null or k.name = any (shown)
      having count(*) > 0), 'null'));
end
$$;

comment on function pgstream._preview_ids is
  'The lasting ids of a table''s columns by their names, and the metadata of its events; null '
  'where the schema log does not have it.';

create or replace function pgstream._preview_texts(rel regclass, row_values jsonb) returns jsonb
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
  v_names text[];
  v_texts jsonb;
begin
  if jsonb_typeof(row_values) <> 'object' then
    raise exception 'a row is a JSON object, not %', jsonb_typeof(row_values)
      using errcode = 'invalid_parameter_value',
            hint = 'Write e.g. new => ''{"id": 1}'', or to_jsonb(orders).';
  end if;
  select array_agg(c.name order by c.number),
         -- what the caller should not read as the type of others is taken as the text that it is
         string_agg(format('%I %s', c.name, case
             when c.type is null then 'text'
             when pgstream._is_readable(a.atttypid) then c.type
             when right(c.type, 2) = '[]' then 'text[]'
             else 'text' end), ', ' order by c.number),
         -- A cast to text is not what the output function of each type says.
         string_agg(
           format('case num_nulls(r.%1$I) when 0 then format(''%%s'', r.%1$I) end', c.name), ', '
           order by c.number)
  into v_names, v_row_type, v_values
  from pgstream._expression_columns(rel) c
  join pg_attribute a on a.attrelid = rel and a.attnum = c.number
  where c.problem is distinct from 'generated';
  execute format('select jsonb_object($2, array[%s]::text[]) from jsonb_to_record($1) as r(%s)',
                 v_values, v_row_type)
    into v_texts using row_values, v_names;
  return v_texts;
end
$$;

comment on function pgstream._preview_texts is
  'A row given as JSON as the texts of its values, as Postgres prints them.';

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
  -- JSON is read from text: a JSON string would stand for itself
  select string_agg(
    format('jsonb_to_record($%s) as pgstream_%s(%s), lateral (select %s) as %2$s', s.parameter,
           s.side, coalesce(c.transported, 'pgstream_none text'), c.read), ', ')
  into v_from
  from (values ('old', 1), ('new', 2)) s(side, parameter)
  cross join lateral (
    select string_agg(
             format('%I %s%s', c.name, case when j.is_json then 'text' else c.type end,
                    ' collate ' || c."collation"), ', ' order by c.number) as transported,
           string_agg(
             format('pgstream_%s.%I%s as %2$I', s.side, c.name,
                    case when j.is_json then format('::%s', c.type) end), ', ' order by c.number)
             as read
    from jsonb_to_recordset(program -> 'columns')
      as c("row" text, name name, type text, "collation" text, number integer)
    cross join lateral (select c.type in ('json', 'jsonb') as is_json) j
    where c."row" = s.side
  ) c;
  perform set_config('search_path', program ->> 'path', true);
  execute format(
    'select %s, case when %s then %s::text end from %s', v_filter, v_filter, v_payload, v_from)
    into matches, payload using coalesce(old_row, '{}'), coalesce(new_row, '{}'), op;
end
$$;

comment on function pgstream._preview_program is
  'What a program says to rows given as the texts of their values, with the rights of the caller.';

create or replace function pgstream._preview_setting(subscription bigint, rel oid) returns jsonb
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription record;
  v_about jsonb := jsonb_build_object(
    'schema', '', 'table', '', 'database', current_database());
  v_program jsonb;
  v_problem text;
  v_is_untrusted boolean := false;
begin
  select s.id, s.owner, s.event_types, s.filter, s.payload, s.format, s.inject_metadata,
         s.batch_size, s.enabled into v_subscription
  from pgstream.webhook_subscriptions s
  where s.id = _preview_setting.subscription;
  v_about := v_about
    || pgstream._preview_table(rel, v_subscription.owner, v_subscription.inject_metadata)
    || case when rel = 'pgstream.emitted_events'::regclass then '{"schema": "", "table": ""}'
         else '{}'::jsonb end;
  begin
    -- checked anew, so that nothing else is evaluated than what was checked
    v_program := pgstream._compile_program(
      v_about ->> 'schema', v_about ->> 'table', v_subscription.event_types,
      v_subscription.filter, v_subscription.payload, v_subscription.owner);
    v_problem := coalesce(
      pgstream._untrusted_type(array(select jsonb_array_elements_text(v_program -> 'types'))),
      case when (v_program -> 'foreign')::boolean and v_subscription.owner <> current_user
        then pgstream._untrusted_schema(v_program ->> 'path') end);
    v_is_untrusted := v_problem is not null;
  exception when others then
    v_problem := sqlerrm;
  end;
  return jsonb_strip_nulls(jsonb_build_object(
    'id', v_subscription.id,
    'event_types', v_subscription.event_types,
    'format', case when v_subscription.payload is null then v_subscription.format
      else 'pgstream' end,
    'is_array', v_subscription.batch_size > 1
      and (v_subscription.format <> 'cloudevents_binary' or v_subscription.payload is not null),
    'is_enabled', v_subscription.enabled,
    'has_payload', v_subscription.payload is not null,
    'about', v_about,
    'program', v_program,
    'is_untrusted', v_is_untrusted,
    'problem', coalesce(v_about ->> 'denial', v_problem)));
end
$$;

comment on function pgstream._preview_setting is
  'All that is the same for each event of a table and a subscription that the caller sees.';

create or replace function pgstream._preview_request(
  setting jsonb, op text, new jsonb, old jsonb, data jsonb, ordinal bigint,
  out sent boolean, out body text, out headers jsonb, out problem text, out signature_note text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_about constant jsonb := setting -> 'about';
  v_is_array constant boolean := setting -> 'is_array';
  v_event_id constant text := format('evt_preview_%s_%s', ordinal, setting ->> 'id');
  v_id constant text := case when v_is_array
    then format('bat_%s', left(encode(sha256(convert_to(v_event_id, 'UTF8')), 'hex'), 32))
    else v_event_id end;
  v_timestamp constant text := floor(extract(epoch from now()))::text;
  v_identity constant text[] := array(
    select c.document ->> 'name'
    from jsonb_array_elements(v_about -> 'columns') c(document)
    where (c.document ->> 'identity')::boolean);
  v_matches boolean;
  v_is_logged boolean;
  v_signing record;
begin
  headers := jsonb_strip_nulls(
    pgstream._event_headers(setting ->> 'format', v_is_array, v_about, op, v_event_id, now())
    || jsonb_build_object(
      'webhook-id', v_id,
      'webhook-timestamp', v_timestamp,
      'pgstream-event-ids', case when v_is_array then v_event_id end));
  sent := false;
  problem := setting ->> 'problem';
  if problem is null and op in ('U', 'D') and not (v_about ->> 'is_updatable')::boolean then
    problem := format('table %I.%I has no replica identity: its updates and deletes are not sent',
                      v_about ->> 'schema', v_about ->> 'table');
  elsif problem is null and v_about -> 'unpublished'
      ? (case when op in ('U', 'D') then 'pgstream_update' else 'pgstream_insert' end) then
    problem := format('table %I.%I is not published yet: see select * from pgstream.ddl_error',
                      v_about ->> 'schema', v_about ->> 'table');
  end if;
  if problem is not null then
    sent := case when not (setting -> 'is_untrusted')::boolean then false end;
  else
    begin
      sent := true;
      if setting ? 'program' then
        select p.matches, p.payload into v_matches, body
        from pgstream._preview_program(
          setting -> 'program', op,
          (select jsonb_object_agg(o.key, o.value)
           from jsonb_each(old) o
           where o.key = any (v_identity)), new) p;
        sent := coalesce(v_matches, false)
                and (not (setting -> 'has_payload')::boolean or body is not null);
      end if;
      if sent and not (setting -> 'has_payload')::boolean then
        v_is_logged := coalesce((v_about -> 'is_full')::boolean, false) or exists (
          select from unnest(v_identity) i(name)
          where new -> i.name is distinct from old -> i.name);
        body := pgstream._event_body(
          setting ->> 'format', v_about, op, new, old, v_is_logged, data, v_event_id, now());
      end if;
    exception when others then
      sent := false;
      body := null;
      problem := sqlerrm;
    end;
  end if;
  if sent and not (setting -> 'is_enabled')::boolean then
    sent := false;
    problem := 'the subscription is disabled: its events are kept until it is enabled';
  end if;
  if v_is_array and body is not null then
    body := format('[%s]', body);
  end if;

  perform set_config('pgstream.to_sign', format('%s.%s.%s', v_id, v_timestamp, body), true);
  select g.headers, g.signature, g.note into v_signing
  from pgstream._signing g
  where g.subscription = (setting -> 'id')::bigint;
  perform set_config('pgstream.to_sign', '', true);
  headers := v_signing.headers || headers;
  if body is not null then
    headers := headers || jsonb_strip_nulls(
      jsonb_build_object('webhook-signature', v_signing.signature));
    signature_note := v_signing.note;
  end if;
end
$$;

comment on function pgstream._preview_request is
  'The request that a subscription would be sent for an event, which is told as texts of values, '
  'or, emitted, as data.';

-- of another signature before
drop function if exists pgstream.preview(bigint, jsonb, jsonb);

create or replace function pgstream.preview(
  subscription bigint, new jsonb default null, old jsonb default null,
  relation regclass default null,
  out op text, out sent boolean, out body text, out headers jsonb, out problem text,
  out signature_note text
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription record;
  v_table record;
  v_setting jsonb;
begin
  select s.id, s.schema_name, s.table_name, s.event_types into v_subscription
  from pgstream.webhook_subscriptions s
  where s.id = preview.subscription;
  if v_subscription.id is null then
    raise exception 'there is no subscription %', preview.subscription
      using errcode = 'no_data_found',
            hint = 'See select id, name, url from pgstream.webhook_subscriptions;';
  elsif relation is null and (pgstream._is_pattern(v_subscription.schema_name)
                              or pgstream._is_pattern(v_subscription.table_name)) then
    raise exception 'subscription % is to several tables', preview.subscription
      using errcode = 'feature_not_supported',
            hint = 'Name one of them, e.g. relation => ''public.orders''.';
  end if;
  select c.oid::regclass as rel, n.nspname, c.relname into v_table
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where case when relation is not null then c.oid = relation
          else n.nspname = v_subscription.schema_name and c.relname = v_subscription.table_name
        end;
  if v_table.rel is null then
    raise exception 'there is no table %.%', quote_ident(v_subscription.schema_name),
      quote_ident(v_subscription.table_name)
      using errcode = 'undefined_table', hint = 'Create it first.';
  elsif not (pgstream._name_matches(v_table.nspname, v_subscription.schema_name)
             and pgstream._name_matches(v_table.relname, v_subscription.table_name)) then
    raise exception 'subscription % is not to %', preview.subscription, v_table.rel
      using errcode = 'invalid_parameter_value',
            detail = format('schema_name: %L, table_name: %L', v_subscription.schema_name,
                            v_subscription.table_name),
            hint = 'Name a table that it is to.';
  end if;
  op := case when preview.old is null then case when preview.new is null then 'T' else 'I' end
    else case when preview.new is null then 'D' else 'U' end end;
  v_setting := pgstream._preview_setting(v_subscription.id, v_table.rel);
  if not pgstream._wants_rows(v_subscription.event_types, op) then
    v_setting := v_setting || '{"problem": "its event_types leave it out"}';
  end if;
  select r.sent, r.body, r.headers, r.problem, r.signature_note
  into sent, body, headers, problem, signature_note
  from pgstream._preview_request(
    v_setting, op, pgstream._preview_texts(v_table.rel, preview.new),
    pgstream._preview_texts(v_table.rel, preview.old), null, 1) r;
end
$$;

comment on function pgstream.preview is
  'The request that a subscription would be sent for a row given as JSON, e.g. to_jsonb(orders): '
  'new alone is an insert, old alone a delete, both an update, none a truncate. relation: which '
  'table, where the subscription is to several. sent: whether it would be; problem: why not, where '
  'it is not for the filter; signature_note: why the request is not signed. Stand-ins, since they '
  'are known at the commit or the attempt: webhook-id and ids made of it, the timestamps (the '
  'beginning of this transaction), lsn and txId (zero). Values of headers are *** for those who '
  'may not read them. Sends nothing, and runs with the rights of the caller, who has to be the '
  'owner of the subscription or an operator.';
