create or replace function pgstream._refuse_expression(
  what text, rel regclass, problem text, state text, detail text, hint text default null
) returns void
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'bad % for %: %', what, rel, problem
    using errcode = state, detail = detail, hint = coalesce(nullif(hint, ''), format(
      'Write %s over new.<column>, old.<column> and op, with functions of Postgres.',
      case what when 'filter' then 'one condition' else 'one expression of type jsonb' end));
end
$$;

comment on function pgstream._refuse_expression is
  'Raises what is wrong with an expression, with the way out.';

create or replace function pgstream._judge_tree(
  tree text, out problem text, out state text, out hint text
)
  language plpgsql stable parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_nodes constant text[] := array(
    select distinct m[1] from regexp_matches(tree, '\{([A-Z_]+)', 'g') m);
  v_functions constant oid[] := pgstream._tree_numbers(
      tree, ':(?:funcid|opfuncid|hashfuncid|negfuncid) (\d+)')
    || array(
      select o.oprcode::oid
      from pg_operator o
      where o.oid = any (pgstream._tree_numbers(tree, ':(?:opno|opnos \(o) ([\d ]+)')));
  -- of a conversion by text, which alone has no modifier: it may read 'today'
  v_read constant oid[] := pgstream._tree_numbers(tree, ':resulttype (\d+) :resultcollid');
  v_types constant oid[] := pgstream._tree_numbers(
    tree, ':(?:vartype|consttype|funcresulttype|opresulttype|resulttype|array_typeid|row_typeid|'
          'coalescetype|minmaxtype|casetype) (\d+)');
  v_names text;
begin
  state := 'feature_not_supported';
  -- What the expression stands in has one sub-query, and two functions that return sets.
  if (select count(*) > 1 from regexp_matches(tree, '\{SUBLINK', 'g')) then
    problem := 'sub-queries are not allowed';
  elsif v_nodes && '{AGGREF,GROUPINGFUNC,WINDOWFUNC}' then
    problem := 'aggregates and window functions are not allowed';
  elsif (select count(*) > 2 from regexp_matches(tree, ':funcretset true', 'g')) then
    problem := 'functions that return sets are not allowed';
  elsif v_nodes && '{SQLVALUEFUNCTION}' then
    problem := 'only now() and current_timestamp, the time of the commit, are the same at each '
      'delivery';
    hint := 'Write e.g. now()::date for current_date.';
  elsif v_nodes && '{COERCETODOMAIN}' then
    problem := 'casts to a domain are not allowed';
    hint := 'Cast to the type that the domain is made of.';
  end if;
  if problem is not null then
    return;
  end if;

  select string_agg(p.oid::regprocedure::text, ', ' order by 1) into v_names
  from unnest(v_functions) f(oid)
  join pg_proc p on p.oid = f.oid
  where not pgstream._is_safe_function(p.oid)
    and p.oid <> 'jsonb_to_recordset(jsonb)'::regprocedure
    and not exists (
      select from pgstream.transforms t where to_regprocedure(t.function) = p.oid);
  if v_names is not null then
    problem := format('it calls what is not allowed here: %s', v_names);
    state := 'insufficient_privilege';
    hint := 'Allowed are functions and operators of Postgres whose result depends on their '
      'arguments alone, and functions that an administrator has registered with '
      'pgstream.register_transform().';
    return;
  end if;

  select string_agg(format_type(t.oid, null), ', ' order by 1) into v_names
  from unnest(v_read) t(oid)
  where exists (
    select
    from pg_type y
    where y.oid = t.oid
      and coalesce(nullif(y.typelem, 0), y.oid) in (
        'date'::regtype, 'time'::regtype, 'timetz'::regtype, 'timestamp'::regtype,
        'timestamptz'::regtype)
       or y.oid = t.oid and y.typtype in ('r', 'm'));
  if v_names is not null then
    problem := format('a text may say "today", so its value as %s depends on when it is read',
                      v_names);
    hint := 'Use to_date() or to_timestamp() with a format.';
    return;
  end if;

  select string_agg(format_type(t.oid, null), ', ' order by 1) into v_names
  from unnest(v_types) t(oid)
  join pg_type y on y.oid = t.oid
  left join pg_type e on e.oid = y.typelem and y.typcategory = 'A'
  cross join lateral (select coalesce(e.oid, y.oid) as oid, coalesce(e.typtype, y.typtype) as kind,
                             coalesce(e.typnamespace, y.typnamespace) as schema) p
  where pgstream._is_catalog_reference(p.oid)
     or p.oid in ('money'::regtype, 'xml'::regtype)
     or p.kind = 'c'
     or p.kind in ('d', 'r', 'm') and p.schema <> 'pg_catalog'::regnamespace;
  if v_names is not null then
    problem := format('values of type %s are not allowed', v_names);
    hint := 'Their meaning depends on the catalogs, on settings, or on functions of others.';
  elsif not v_nodes <@ array[
    'ALIAS', 'ARRAY', 'ARRAYCOERCEEXPR', 'ARRAYEXPR', 'BOOLEANTEST', 'BOOLEXPR', 'CASE',
    'CASEEXPR', 'CASETESTEXPR', 'CASEWHEN', 'COALESCE', 'COALESCEEXPR', 'COERCEVIAIO', 'COLLATE',
    'COLLATEEXPR', 'CONST', 'DISTINCTEXPR', 'FROMEXPR', 'FUNCEXPR', 'JSONCONSTRUCTOREXPR',
    'JSONFORMAT', 'JSONISPREDICATE', 'JSONRETURNING', 'JSONVALUEEXPR', 'MINMAX', 'MINMAXEXPR',
    'NAMEDARGEXPR', 'NULLIFEXPR', 'NULLTEST', 'OPEXPR', 'QUERY', 'RANGETBLENTRY',
    'RANGETBLFUNCTION', 'RANGETBLREF', 'RELABELTYPE', 'ROW', 'ROWCOMPARE', 'ROWCOMPAREEXPR',
    'ROWEXPR', 'RTE', 'SCALARARRAYOPEXPR', 'SUBLINK', 'SUBSCRIPTINGREF', 'TARGETENTRY', 'VAR',
    'WHEN'] then
    problem := 'it uses more of SQL than operators, functions, CASE, COALESCE, IN, IS and casts';
  end if;
end
$$;

comment on function pgstream._judge_tree is
  'What speaks against an analysed expression; problem is null where nothing does.';

create or replace function pgstream._compile_expression(
  what text, expression text, rel regclass, owner name, old_columns name[], out part jsonb
)
  language plpgsql volatile parallel unsafe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_detail constant text := format('%s: %s', what, left(expression, 1000));
  v_columns constant text := format('Columns of %s: %s.', rel, (
    select string_agg(concat(quote_ident(c.name), ' (not usable: ' || c.problem || ')'), ', ')
    from pgstream._expression_columns(rel) c));
  v_row text;
  v_path text;
  v_text text;
  v_tree text;
  v_type oid;
  v_first integer;
  v_message text;
  v_state text;
  v_hint text;
  v_foreign boolean;
  v_names text;
begin
  select string_agg(format('%I %s%s', c.name, c.type, ' collate ' || c.collation_name), ', '
                    order by c.number)
  into v_row
  from pgstream._expression_columns(rel) c
  where c.problem is null;
  if v_row is null then
    perform pgstream._refuse_expression(
      what, rel, 'the table has no column that it could use', '0A000', v_detail, v_columns);
  end if;
  -- Operators of an extension, such as citext, are found where its types are.
  select string_agg(distinct quote_ident(n.nspname), ', ') into v_path
  from pg_attribute a
  join pg_type y on y.oid = a.atttypid
  join pg_type e on e.oid = coalesce(nullif(y.typelem, 0), y.oid)
  join pg_namespace n on n.oid = e.typnamespace
  join pg_depend d on d.classid = 'pg_type'::regclass and d.objid = e.oid and d.deptype = 'e'
  where a.attrelid = rel and a.attnum > 0 and not a.attisdropped;
  v_path := concat_ws(', ', 'pg_catalog', v_path, 'pg_temp');

  begin
    v_text := pgstream._expression_text(expression);
    select a.type, a.tree into v_type, v_tree
    from pgstream._analyse_expression(v_text, v_row, v_path) a;
  exception when others then
    get stacked diagnostics v_message = message_text, v_state = returned_sqlstate,
                            v_hint = pg_exception_hint;
    perform pgstream._refuse_expression(what, rel, v_message, v_state, v_detail, concat_ws(' ',
      nullif(v_hint, ''),
      case when v_state ~ '^42(703|702|P01)' then concat_ws(' ',
        'Write new.<column>, old.<column> or op.', v_columns) end));
  end;

  select j.problem, j.state, j.hint into v_message, v_state, v_hint
  from pgstream._judge_tree(v_tree) j;
  if v_message is not null then
    perform pgstream._refuse_expression(what, rel, v_message, v_state, v_detail, v_hint);
  elsif not pgstream._check_clocks(v_text, v_row, v_path) then
    perform pgstream._refuse_expression(
      what, rel, 'a time such as ''now'' or ''today'' is another one at each delivery', '0A000',
      v_detail, 'now() is the time of the commit; now()::date its day.');
  elsif v_type <> (case what when 'filter' then 'boolean' else 'jsonb' end)::regtype then
    perform pgstream._refuse_expression(
      what, rel, format('it is of type %s, not %s', format_type(v_type, null),
                        case what when 'filter' then 'boolean' else 'jsonb' end),
      '42804', v_detail, case
        when what = 'filter' then 'Write a condition, e.g. new.n <> 0 or new.name is not null.'
        when v_type = 'json'::regtype then 'Write jsonb_build_object() for json_build_object(), '
          'to_jsonb() for to_json(), or add a cast: (...)::jsonb'
        else 'Write e.g. jsonb_build_object(''id'', new.id) or to_jsonb(new).' end);
  end if;

  -- Rules of views before PostgreSQL 16 begin with two relations of their own.
  v_first := case when current_setting('server_version_num')::integer < 160000 then 2 else 0 end;
  select jsonb_agg(distinct jsonb_build_object('row', u.side, 'name', c.name, 'type', c.type,
                                               'collation', c.collation_name, 'number', c.number))
  into part
  from (
    select distinct case m[1]::integer - v_first when 1 then 'old' else 'new' end as side,
           m[2]::integer as position
    from regexp_matches(
      v_tree, '\{VAR :varno (\d+) :varattno (-?\d+) [^{}]*:varlevelsup 1 ', 'g') m
  ) u
  join (
    select *, row_number() over (order by e.number) as position
    from pgstream._expression_columns(rel) e
    where e.problem is null
  ) c on u.position in (0, c.position);
  part := coalesce(part, '[]');
  select c.problem, c.state into v_message, v_state
  from pgstream._check_strings(v_text, (
    select string_agg(distinct format(
      '%I %s%s', x.name, x.type, ' collate ' || x."collation"), ', ')
    from jsonb_to_recordset(part) as x(name name, type text, "collation" text))) c;
  if v_message is not null then
    perform pgstream._refuse_expression(what, rel, v_message, v_state, v_detail, v_columns);
  end if;
  if v_tree ~ '\{VAR :varno \d+ :varattno 0 [^{}]*:varlevelsup 0 ' then
    perform pgstream._refuse_expression(
      what, rel, 'pgstream_event is not to be used', '42703', v_detail, v_columns);
  end if;

  if v_tree ~ '\{VAR :varno \d+ :varattno 0 [^{}]*:varlevelsup 1 ' then
    select string_agg(quote_ident(c.name), ', ') into v_names
    from pgstream._expression_columns(rel) c
    where c.type is null;
    if v_names is not null then
      perform pgstream._refuse_expression(
        what, rel, format('whole rows have columns that cannot be used: %s', v_names), '0A000',
        v_detail, 'Name the columns that you want: new.<column>');
    end if;
  end if;
  select string_agg(distinct quote_ident(x.name), ', ') into v_names
  from jsonb_to_recordset(part) as x(name name)
  where not has_column_privilege(owner, rel, x.name, 'SELECT');
  if v_names is not null then
    perform pgstream._refuse_expression(
      what, rel, format('%s may not read %s', quote_ident(owner), v_names), '42501', v_detail,
      format('grant select (%s) on %s to %I;', v_names, rel, owner));
  end if;
  select string_agg(distinct quote_ident(x.name), ', ') into v_names
  from jsonb_to_recordset(part) as x("row" text, name name)
  where x."row" = 'old' and x.name <> all (old_columns);
  if v_names is not null then
    perform pgstream._refuse_expression(
      what, rel, format('the old value of %s is not logged', v_names), '55000', v_detail,
      format('alter table %s replica identity full; or subscribe to inserts alone: '
             'event_types => ''{I}''', rel));
  end if;

  select bool_or(p.pronamespace <> 'pg_catalog'::regnamespace) into v_foreign
  from pg_proc p
  where p.oid = any (
    pgstream._tree_numbers(v_tree, ':(?:funcid|opfuncid) (\d+)')
    || array(select o.oprcode::oid from pg_operator o
             where o.oid = any (pgstream._tree_numbers(v_tree, ':(?:opno|opnos \(o) ([\d ]+)'))));
  part := jsonb_build_object(
    'text', v_text,
    'columns', part,
    'rows', to_jsonb(array(
      select distinct case m[1]::integer - v_first when 1 then 'old' else 'new' end
      from regexp_matches(
        v_tree, '\{VAR :varno (\d+) :varattno 0 [^{}]*:varlevelsup 1 ', 'g') m)),
    'types', to_jsonb(array(
      select distinct format_type(coalesce(nullif(y.typelem, 0), y.oid), null)
      from pg_type y
      where y.typnamespace <> 'pg_catalog'::regnamespace and y.oid = any (
        pgstream._tree_numbers(v_tree, ':(?:vartype|consttype|funcresulttype|opresulttype|'
          'resulttype|array_typeid|row_typeid|coalescetype|minmaxtype|casetype) (\d+)')
        || array(select to_regtype(x.type)::oid from jsonb_to_recordset(part) as x(type text))))),
    'path', case when v_foreign then v_path else 'pg_catalog, pg_temp' end,
    'foreign', coalesce(v_foreign, false));
end
$$;

comment on function pgstream._compile_expression is
  'Checks one expression over the rows of a table, and says what it uses: its columns with their '
  'types, whether whole rows or functions of others, and the path in which it was understood.';
