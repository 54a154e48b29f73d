create or replace function pgstream._compile_program(
  schema_name text, table_name text, event_types text[], filter text, payload text, owner name,
  out program jsonb
)
  language plpgsql volatile parallel unsafe security definer
  -- definer: who subscribes need not be able to read the catalog of transforms or to make views
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_what constant text := case when filter is null then 'payload' else 'filter' end;
  v_rel regclass;
  v_old_columns name[];
  v_filter jsonb;
  v_payload jsonb;
begin
  if filter is null and payload is null then
    return;
  elsif pgstream._is_pattern(schema_name) or pgstream._is_pattern(table_name) then
    raise exception 'a % needs one table', v_what
      using errcode = 'feature_not_supported',
            detail = format('schema_name: %L, table_name: %L', schema_name, table_name),
            hint = 'Name it in schema_name and table_name, e.g. ''public'' and ''orders''; for '
                   'several tables, make a subscription for each.';
  end if;
  select c.oid into v_rel
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = schema_name and c.relname = table_name and c.relkind in ('r', 'p');
  if v_rel is null then
    raise exception 'a % needs a table: there is no %.%', v_what, quote_ident(schema_name),
      quote_ident(table_name)
      using errcode = 'undefined_table', hint = 'Create the table first.';
  end if;
  -- Inserts and truncates have no old row to miss anything in.
  v_old_columns := case when coalesce(event_types = '{}' or event_types && '{U,D}', true)
    then pgstream._identity_columns(v_rel)
    else array(select c.name from pgstream._expression_columns(v_rel) c) end;
  if filter is not null then
    v_filter := pgstream._compile_expression('filter', filter, v_rel, owner, v_old_columns);
  end if;
  if payload is not null then
    v_payload := pgstream._compile_expression('payload', payload, v_rel, owner, v_old_columns);
  end if;
  program := jsonb_strip_nulls(jsonb_build_object(
    'filter', v_filter ->> 'text',
    'payload', v_payload ->> 'text',
    'columns', (
      select jsonb_agg(c order by c ->> 'row', (c ->> 'number')::integer)
      from (
        select jsonb_array_elements(v_filter -> 'columns')
        union
        select jsonb_array_elements(v_payload -> 'columns')
      ) u(c)),
    'rows', (
      select jsonb_agg(distinct r)
      from unnest(array[v_filter -> 'rows', v_payload -> 'rows']) p(list)
      cross join jsonb_array_elements_text(p.list) r),
    'types', (
      select jsonb_agg(distinct r)
      from unnest(array[v_filter -> 'types', v_payload -> 'types']) p(list)
      cross join jsonb_array_elements_text(p.list) r),
    'path', case when (v_filter -> 'foreign')::boolean then v_filter ->> 'path'
      else coalesce(v_payload ->> 'path', v_filter ->> 'path') end,
    'foreign', coalesce((v_filter -> 'foreign')::boolean, false)
               or coalesce((v_payload -> 'foreign')::boolean, false),
    'table', v_rel::oid::text,
    'signature', pgstream._table_signature(v_rel)));
end
$$;

comment on function pgstream._compile_program is
  'Checks filter and payload against the table as it stands, and returns what a runner evaluates; '
  'null where there are none. Fails with the reason where one of them could not work.';

create or replace function pgstream._check_program(
  new_row pgstream.webhook_subscriptions, old_row pgstream.webhook_subscriptions
) returns pgstream.webhook_subscriptions
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_asked constant boolean := old_row.id is null
    or (new_row.filter, new_row.payload, new_row.schema_name, new_row.table_name,
        new_row.event_types, new_row.owner)
       is distinct from
       (old_row.filter, old_row.payload, old_row.schema_name, old_row.table_name,
        old_row.event_types, old_row.owner);
begin
  new_row.program := old_row.program;
  new_row.invalid_reason := old_row.invalid_reason;
  if v_is_asked or old_row.invalid_reason is not null
     or current_setting('pgstream.recheck', true) = 'on' then
    new_row.program := pgstream._compile_program(
      new_row.schema_name, new_row.table_name, new_row.event_types, new_row.filter,
      new_row.payload, new_row.owner);
    new_row.invalid_reason := null;
  end if;
  return new_row;
exception when others then
  if v_is_asked then
    raise;
  end if;
  new_row.invalid_reason := sqlerrm;
  return new_row;
end
$$;

comment on function pgstream._check_program is
  'Gives a subscription the program of its expressions. Refuses them where they are being '
  'written, and notes the reason where it is the table that has changed.';

create or replace function pgstream._recheck_programs(
  among oid[] default null, deadline timestamptz default null
) returns integer
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_deadline constant timestamptz := coalesce(deadline, pgstream._lock_deadline());
  -- a few are always checked
  v_end constant timestamptz := greatest(deadline, clock_timestamp() + interval '250 ms');
  v_count integer := 0;
  v_id bigint;
begin
  for v_id in
    with judged as materialized (
      select s.subscription as id, s.is_invalid, s.relation, s.signature, c.oid
      from pgstream.subscription_targets s
      left join pg_namespace n on n.nspname = s.schema_name
      left join pg_class c on c.relnamespace = n.oid and c.relname = s.table_name
      where s.has_program
        and (among is null or c.oid is null or c.oid = any (among)
             or s.relation::oid = any (among))
    ), tables as materialized (
      select d.oid, pgstream._table_signature(d.oid) as signature
      from (select distinct j.oid from judged j) d
    )
    select j.id
    from judged j
    left join tables t on t.oid = j.oid
    where j.is_invalid and j.oid is not null
       or not j.is_invalid and (
         j.relation is distinct from j.oid::text or j.signature is distinct from t.signature)
    order by j.id
  loop
    if not pgstream._try_lock_subscriptions(v_deadline) then
      raise exception 'the subscriptions are locked by another transaction'
        using errcode = 'lock_not_available', hint = 'select pgstream.reconcile();';
    elsif deadline is not null and clock_timestamp() >= v_end then
      raise exception 'there are too many expressions over it to be checked at once'
        using errcode = 'program_limit_exceeded', hint = 'select pgstream.reconcile();';
    end if;
    perform from pgstream.webhook_subscriptions s where s.id = v_id for update nowait;
    perform set_config('pgstream.recheck', 'on', true);
    update pgstream.webhook_subscriptions set filter = filter where id = v_id;
    perform set_config('pgstream.recheck', '', true);
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;

comment on function pgstream._recheck_programs is
  'Checks the expressions of all subscriptions whose table is not as it was when they were '
  'checked, or of those to these tables. What no longer fits becomes invalid, what fits again '
  'valid. Fails with 55P03 where somebody changes such a subscription, and with 54000 where a '
  'deadline is given and comes before the end, though not within the first 250 ms.';
