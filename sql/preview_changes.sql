-- What would be sent if a transaction committed. Uncommitted changes can be read from nowhere, so
-- they are noted as they happen: triggers, made in the transaction and rolled back with it, write
-- them into a temporary table.
--
-- Nothing here is a definer function. Whoever may set a trigger on a table may see every row that
-- is written there, and lock the table, in any case; for everybody else its changes are left out.
-- The trigger runs as whoever writes, so it uses nothing of schema pgstream.

create or replace function pgstream._capture_change() returns trigger
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set timezone = 'UTC'
  set datestyle = 'ISO'
  set intervalstyle = 'postgres'
  set extra_float_digits = 1
  set bytea_output = 'hex'
as $$
declare
  v_n constant bigint := current_setting('pgstream.preview_position')::bigint + 1;
  v_select text;
  v_names text[];
  v_has_new constant boolean := tg_op in ('INSERT', 'UPDATE');
  v_has_old constant boolean := tg_op in ('UPDATE', 'DELETE');
  v_new jsonb;
  v_old jsonb;
begin
  perform set_config('pgstream.preview_position', v_n::text, true);
  if tg_when = 'AFTER' and tg_level = 'ROW' then
    select array_agg(a.attname order by a.attnum),
           format('select pg_catalog.jsonb_object($2, array[%s]::pg_catalog.text[])', string_agg(
             format('case when pg_catalog.num_nulls(($1).%1$I) operator(pg_catalog.=) 0 '
                    'then pg_catalog.format(''%%s'', ($1).%1$I) end', a.attname), ', '
             order by a.attnum))
    into v_names, v_select
    from pg_attribute a
    where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped
      and (a.attgenerated = '' or a.attgenerated = 's'
           and current_setting('server_version_num')::integer >= 180000);
    -- Values that are names are printed as the runner sees them. With public in the path, whatever
    -- is called has its schema.
    perform set_config('search_path', 'public', true);
    if v_has_new then
      execute v_select into v_new using new, v_names;
    end if;
    if v_has_old then
      execute v_select into v_old using old, v_names;
    end if;
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  end if;
  insert into pg_temp.pgstream_preview (n, depth, relation, op, new, old)
  values (v_n, pg_trigger_depth(), tg_argv[0]::oid,
          case when tg_when = 'AFTER' then left(tg_op, 1) end, v_new, v_old);
  return null;
end
$$;

comment on function pgstream._capture_change is
  'Trigger: notes a change, or that a statement begins, for pgstream.preview_changes().';

create or replace function pgstream._refuse_commit() returns trigger
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'a transaction that is previewed cannot be committed'
    using errcode = 'invalid_transaction_termination',
          hint = 'begin; select pgstream.preview_begin(); then the statements, select * from '
                 'pgstream.preview_changes(); and rollback;';
end
$$;

comment on function pgstream._refuse_commit is
  'Trigger: keeps the triggers of a preview from outliving it.';

create or replace function pgstream._capture_changes(tables regclass[]) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  -- who stands in line for the table keeps its other writers waiting
  set lock_timeout = '1s'
as $$
declare
  v_table regclass;
begin
  if to_regclass('pg_temp.pgstream_preview') is not null then
    raise exception 'this transaction is previewed already'
      using errcode = 'object_in_use',
            hint = 'See select * from pgstream.preview_changes(); or: rollback;';
  end if;
  create temp table pgstream_preview (
    n bigint, depth integer, relation oid, op text, new jsonb, old jsonb
  ) on commit drop;
  -- some of what is written may be written by functions with the rights of others
  grant insert on pg_temp.pgstream_preview to public;
  perform set_config('pgstream.preview_position', '0', true);
  perform set_config('pgstream.preview_emitted', '', true);

  for v_table in
    select w.rel from pgstream._wanted_tables(tables) w
    union
    select 'pgstream.schema_log'::regclass
    from pgstream.webhook_subscriptions s
    where (tables is null or 'pgstream.schema_log'::regclass = any (tables))
      and pgstream._name_matches('pgstream', s.schema_name)
      and pgstream._name_matches('schema_log', s.table_name)
      and pgstream._wants_rows(s.event_types, 'I')
    order by 1
  loop
    if has_table_privilege(v_table, 'trigger') then
      -- triggers fire in the order of their names: these are the first
      execute format(
        'create trigger "!pgstream_preview_statement" before insert or update or delete on %1$s '
        'for each statement execute function pgstream._capture_change(%2$L); '
        'create trigger "!pgstream_preview_row" after insert or update or delete on %1$s '
        'for each row execute function pgstream._capture_change(%2$L); '
        'create trigger "!pgstream_preview_truncate" after truncate on %1$s '
        'for each statement execute function pgstream._capture_change(%2$L)',
        v_table, v_table::oid);
    else
      raise notice 'changes of % are not shown', v_table
        using detail = format('Role "%s" may not see them.', current_user),
              hint = format('As an administrator: grant trigger on %s to %I;', v_table,
                            current_user);
    end if;
  end loop;
exception when lock_not_available then
  raise exception 'table % is being written by others', v_table
    using errcode = 'lock_not_available',
          detail = 'A preview has to keep other writers out of the table until it is rolled back.',
          hint = 'Try again, or preview elsewhere, e.g. in a copy of the database.';
end
$$;

comment on function pgstream._capture_changes is
  'Notes from now on what the transaction changes of tables with a subscription that the caller '
  'sees; tables: only of these.';

create or replace function pgstream._note_emitted(type text, data jsonb) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_position constant text := current_setting('pgstream.preview_position', true);
  v_n bigint;
begin
  if v_position is null or v_position !~ '^[0-9]{1,18}$' then
    return;
  end if;
  v_n := v_position::bigint + 1;
  perform set_config('pgstream.preview_position', v_n::text, true);
  -- emit() is a definer function: a temporary table of the caller could have triggers
  perform set_config('pgstream.preview_emitted', format(
    E'%s%s\n', current_setting('pgstream.preview_emitted', true),
    jsonb_build_object('n', v_n, 'type', type, 'data', data)), true);
end
$$;

comment on function pgstream._note_emitted is
  'Notes a business event for pgstream.preview_changes(), where the transaction is previewed.';

create or replace function pgstream._captured_changes()
  returns table (ordinal bigint, relation oid, op text, new jsonb, old jsonb, data jsonb)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
begin
  if to_regclass('pg_temp.pgstream_preview') is null then
    raise exception 'nothing has been noted of what this transaction changes'
      using errcode = 'object_not_in_prerequisite_state',
            hint = 'Call pgstream.preview_begin() before the statements, or pass these as text: '
                   'select * from pgstream.preview_changes(''insert ...'');';
  end if;
  -- Triggers of a statement, and what they do in turn, come after all of its rows in the log, and
  -- between them here.
  return query
    with noted as (
      select p.n, p.relation, p.op, p.new, p.old, null::jsonb as data, p.depth, (
        select max(m.n)
        from pg_temp.pgstream_preview m
        where m.op is null and m.depth <= p.depth and m.n < p.n) as statement
      from pg_temp.pgstream_preview p
      where p.op is not null
      union all
      select (e.line ->> 'n')::bigint, 'pgstream.emitted_events'::regclass, e.line ->> 'type',
             null, null, e.line -> 'data', 0, (e.line ->> 'n')::bigint
      from regexp_split_to_table(current_setting('pgstream.preview_emitted', true), E'\n') l(text)
      cross join lateral (select nullif(l.text, '')::jsonb) e(line)
      where e.line is not null
    ), placed as (
      select o.*, min(o.n) over (partition by o.depth, o.statement) as first
      from noted o
    )
    select row_number() over (order by c.first, c.n), c.relation, c.op, c.new, c.old, c.data
    from placed c;
end
$$;

comment on function pgstream._captured_changes is
  'What has been noted of the transaction, in the order of the log.';

create or replace function pgstream._previewed_changes()
  returns table (
    ordinal bigint, subscription bigint, url text, schema_name text, table_name text, op text,
    sent boolean, body text, headers jsonb, problem text, signature_note text
  )
  language sql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
  with changes as materialized (
    select c.* from pgstream._captured_changes() c
  ), tables as (
    select c.oid, n.nspname, c.relname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid in (select h.relation from changes h)
  ), settings as materialized (
    select s.id, s.url, s.event_types, t.oid as relation,
           pgstream._preview_setting(s.id, t.oid) as setting
    from pgstream.webhook_subscriptions s
    join tables t on case
      when t.oid = 'pgstream.emitted_events'::regclass
        then s.schema_name = '' and s.table_name = ''
      else pgstream._name_matches(t.nspname, s.schema_name)
           and pgstream._name_matches(t.relname, s.table_name)
      end
  )
  select c.ordinal, s.id, s.url, s.setting #>> '{about,schema}', s.setting #>> '{about,table}',
         c.op, r.sent, r.body, r.headers, r.problem, r.signature_note
  from changes c
  join settings s on s.relation = c.relation
    and case
      when c.data is not null then pgstream._wants_business(s.event_types, c.op)
      when c.relation = 'pgstream.schema_log'::regclass and c.op <> 'I' then false
      else pgstream._wants_rows(s.event_types, c.op)
    end
  cross join lateral pgstream._preview_request(
    s.setting, c.op, c.new, c.old, c.data, c.ordinal) r
  order by c.ordinal, s.id
$$;

comment on function pgstream._previewed_changes is
  'The requests that would be sent for what has been noted of the transaction.';

create or replace function pgstream.preview_begin(tables regclass[] default null) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgstream._capture_changes(tables);
  create constraint trigger refuse_commit
    after insert on pg_temp.pgstream_preview deferrable initially deferred
    for each row when (new.n = 0) execute function pgstream._refuse_commit();
  insert into pg_temp.pgstream_preview (n) values (0);
end
$$;

comment on function pgstream.preview_begin is
  'Begins to note what this transaction changes, for pgstream.preview_changes(); it can only be '
  'rolled back then. tables: only of these. Others who write the tables of your subscriptions wait '
  'until it is; where they keep this waiting for more than a second, it gives up (55P03). Takes '
  'the privilege TRIGGER on a table.';

create or replace function pgstream._preview_changes(
  statements text, tables regclass[], path text
) returns table (
    ordinal bigint, subscription bigint, url text, schema_name text, table_name text, op text,
    sent boolean, body text, headers jsonb, problem text, signature_note text
  )
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  if statements is null then
    return query select p.* from pgstream._previewed_changes() p;
    return;
  end if;
  perform pgstream._capture_changes(tables);
  perform set_config('search_path', path, true);
  execute statements;
  -- what waits for the commit
  set constraints all immediate;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  return query select p.* from pgstream._previewed_changes() p;
  raise exception using errcode = 'PGSRB';
exception when sqlstate 'PGSRB' then
  return;
end
$$;

comment on function pgstream._preview_changes is
  'As pgstream.preview_changes(); path: the search_path to run the statements with.';

create or replace function pgstream.preview_changes(
  statements text default null, tables regclass[] default null
) returns table (
    ordinal bigint, subscription bigint, url text, schema_name text, table_name text, op text,
    sent boolean, body text, headers jsonb, problem text, signature_note text
  )
  language sql volatile parallel unsafe
begin atomic
  select p.*
  from pgstream._preview_changes(statements, tables, current_setting('search_path')) p;
end;

comment on function pgstream.preview_changes is
  'The requests that your subscriptions would be sent if the statements, which are run and taken '
  'back, were committed; without statements, if this transaction were, from '
  'pgstream.preview_begin() on. ordinal counts the changes; the rest is as in pgstream.preview(). '
  'Statements run with the rights of the caller, and triggers, functions and sequences do what '
  'they always do. tables: only of these. A large value that an update leaves as it was is in the '
  'body here; the log does not have it, so that it is left out of the request and named there, '
  'unless the table has replica identity full.';
