-- What a subscription sends is decided by SQL of its owner: "filter" and "payload". That SQL is
-- looked at with rights that its owner may lack, also inside the DDL of others. Nothing of it runs
-- there:
--
--   parsed     The input function of a type reads a string, and for an array, a range or a row over
--              a domain it runs the CHECKs of that domain. So no string is in what is parsed: an
--              untyped null stands for each, for which no input function runs, whatever the names
--              around it mean by then (_mask_strings).
--   planned    Planning runs immutable functions of constants. So nothing is planned: the text
--              becomes a view, of which the analysed tree is read before it is rolled back.
--   evaluated  The runner evaluates with a login without rights, or only where nothing in it is in
--              the hands of others (_untrusted_type); a preview, with the rights of its caller.
--
-- It is looked at in four steps, each of which only sees what the earlier ones let through:
--
--   1. as text: one expression in balanced brackets, without comments, semicolons, dollar quotes,
--      or strings with escapes; now() becomes a column
--   2. parsed and analysed without its strings: names, types, the type of the result
--   3. as the analysed tree: no sub-query, aggregate, set or domain; only functions whose result
--      depends on nothing but their arguments; types by their oids
--   4. against the table: the owner may read each column, and old.<column> is logged
--
-- Then its strings are read, where all that it names is of Postgres itself, and the columns that it
-- uses are of types of Postgres or plain enums, by their oids (_check_strings).
--
-- What remains is stored in "program", with the types of the columns that it uses, so that who
-- evaluates it needs no table.

create or replace function pgstream._expression_tokens(expression text) returns text[]
  language sql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
  select coalesce(array_agg(t.token[1] order by t.n), '{}')
  from regexp_matches(
    expression,
    -- a string that goes on after a line break is one
    '(''(?:[^'']|'''')*''(?:\s*[\n\r]\s*''(?:[^'']|'''')*'')*|"(?:[^"]|"")*"|[^''"]+)',
    'g') with ordinality t(token, n)
$$;

comment on function pgstream._expression_tokens is
  'An expression cut into its ''strings'', its "names", and what is between them.';

create or replace function pgstream._expression_text(expression text) returns text
  language plpgsql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
declare
  v_tokens text[];
  v_plain text;
  v_bracket text;
  v_depth integer := 0;
  v_problem text;
begin
  v_tokens := pgstream._expression_tokens(expression);
  if length(expression) > 10000 then
    raise exception 'it has more than 10000 characters'
      using errcode = 'program_limit_exceeded',
            hint = 'A function of your own can be called once an administrator has registered it: '
                   'pgstream.register_transform().';
  elsif expression !~ '\S' then
    raise exception 'it is empty'
      using errcode = 'syntax_error', hint = 'Write null for none.';
  end if;

  select string_agg(
    case left(t.token, 1) when '''' then chr(1) when '"' then chr(2) else t.token end, ''
    order by t.n) into v_plain
  from unnest(v_tokens) with ordinality t(token, n);
  v_problem := case
    when expression ~ '[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]' then 'a control character'
    when array_to_string(v_tokens, '') <> expression then 'a quote that does not end'
    when v_plain ~ '--|/\*' then 'a comment'
    when v_plain ~ ';' then 'a semicolon'
    when v_plain ~ '\$' then 'a dollar sign'
    when v_plain ~ '\\' then 'a backslash'
    when v_plain ~ '([[:alnum:]_&]\x01|&\x02)' then 'a string with a prefix'
  end;
  foreach v_bracket in array regexp_split_to_array(regexp_replace(v_plain, '[^][()]', '', 'g'), '')
  loop
    v_depth := v_depth + case when v_bracket in ('(', '[') then 1
                              when v_bracket in (')', ']') then -1 else 0 end;
    if v_depth < 0 then
      v_problem := coalesce(v_problem, 'a bracket that was not opened');
      exit;
    elsif v_depth > 100 then
      raise exception 'it is nested more than 100 deep' using errcode = 'statement_too_complex';
    end if;
  end loop;
  if v_depth > 0 then
    v_problem := coalesce(v_problem, 'a bracket that is not closed');
  end if;
  if v_problem is not null then
    raise exception 'it contains %', v_problem
      using errcode = 'syntax_error',
            hint = 'Write one expression with plain ''strings'' and "names", as after WHERE: no '
                   'comments, semicolons, $-quotes, E'''' or U&'''' strings; a space before each '
                   'string.';
  end if;

  return (
    select string_agg(
      case when left(t.token, 1) in ('''', '"') then t.token
        else regexp_replace(t.token,
          '(?<![.[:alnum:]_])((pg_catalog\s*\.\s*)?now\s*\(\s*\)'
          '|current_timestamp(?![[:alnum:]_]))',
          'pgstream_event.pgstream_committed_at', 'gi')
      end, '' order by t.n)
    from unnest(v_tokens) with ordinality t(token, n));
end
$$;

comment on function pgstream._expression_text is
  'The text of an expression, with the time of the commit in place of now(). Fails with 42601 '
  'where it could be anything but one expression in brackets, with 54000 or 54001 where it is too '
  'large.';

create or replace function pgstream._plain_type(type oid, typmod integer) returns text
  language plpgsql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_type record;
  v_element text;
begin
  loop
    select t.* into v_type from pg_type t where t.oid = type;
    exit when v_type.typtype <> 'd';
    type := v_type.typbasetype;
    typmod := v_type.typtypmod;
  end loop;
  if v_type.typcategory = 'A' and v_type.typelem <> 0 then
    v_element := pgstream._plain_type(v_type.typelem, typmod);
    return case when v_element is not null then format('%s[]', v_element) end;
  elsif type in ('money'::regtype, 'xml'::regtype)
     or pgstream._is_catalog_reference(type)
     or v_type.typtype not in ('b', 'e')
        and (v_type.typtype not in ('r', 'm')
             or v_type.typnamespace <> 'pg_catalog'::regnamespace)
  then
    return null;
  end if;
  return format_type(type, typmod);
end
$$;

comment on function pgstream._plain_type is
  'The type that values of a type are evaluated as: of a domain, what it is made of, since its '
  'conditions are functions of its owner. Null where these cannot be left out (composite types), '
  'and where the meaning of a text depends on settings (money) or on the catalogs.';

create or replace function pgstream._is_catalog_reference(type oid) returns boolean
  language sql immutable strict parallel safe
  return type in ('regproc'::regtype, 'regprocedure'::regtype, 'regoper'::regtype,
                  'regoperator'::regtype, 'regclass'::regtype, 'regtype'::regtype,
                  'regrole'::regtype, 'regnamespace'::regtype, 'regcollation'::regtype);

comment on function pgstream._is_catalog_reference is
  'Whether the text of a value of the type is a name that is looked up in the catalogs.';

create or replace function pgstream._identity_columns(rel oid) returns name[]
  language sql stable strict parallel safe
begin atomic
  -- pg_partition_tree() would wait for whoever has locked a partition
  with recursive parts as (
    select rel as oid
    union
    select h.inhrelid
    from parts p
    join pg_class c on c.oid = p.oid and c.relkind = 'p'
    join pg_inherits h on h.inhparent = p.oid
  ), identified as (
    select c.oid, l.attname
    from parts p
    join pg_class c on c.oid = p.oid and (p.oid = rel or c.relkind <> 'p')
    join pg_attribute l on l.attrelid = c.oid and l.attnum > 0 and not l.attisdropped
    where case c.relreplident
      when 'f' then true
      when 'n' then false
      else exists (
        select
        from pg_index i
        where i.indrelid = c.oid and l.attnum = any (i.indkey) and i.indisvalid
          and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end)
    end
  )
  select coalesce(array_agg(a.attname order by a.attnum), '{}')
  from pg_attribute a
  where a.attrelid = rel and a.attnum > 0 and not a.attisdropped
    and not exists (
      select
      from parts p
      join pg_class c on c.oid = p.oid and (p.oid = rel or c.relkind <> 'p')
      where not exists (
        select from identified i where i.oid = p.oid and i.attname = a.attname));
end;

comment on function pgstream._identity_columns is
  'The columns whose old values are logged at updates and deletes, of the table and all of its '
  'partitions.';

create or replace function pgstream._expression_columns(rel oid)
  returns table (number smallint, name name, type text, collation_name text, problem text)
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select a.attnum, a.attname, t.name,
         case when a.attcollation not in (0, b.typcollation) then
           format('%I.%I', n.nspname, k.collname)
         end,
         case
           when a.attgenerated <> '' and (a.attgenerated <> 's'
             or current_setting('server_version_num')::integer < 180000) then 'generated'
           when t.name is null then format('of type %s', format_type(a.atttypid, a.atttypmod))
         end
  from pg_attribute a
  join pg_type b on b.oid = a.atttypid
  cross join lateral (select pgstream._plain_type(a.atttypid, a.atttypmod)) t(name)
  left join pg_collation k on k.oid = a.attcollation
  left join pg_namespace n on n.oid = k.collnamespace
  where a.attrelid = rel and a.attnum > 0 and not a.attisdropped
  order by a.attnum
$$;

comment on function pgstream._expression_columns is
  'The columns of a table as expressions see them; problem: why one cannot be used.';

create or replace function pgstream._table_signature(rel oid) returns text
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  -- The number is that of the rules: another one has each expression checked again.
  select md5(jsonb_build_array(2, jsonb_agg(c), pgstream._identity_columns(rel))::text)
  from pgstream._expression_columns(rel) c
$$;

comment on function pgstream._table_signature is
  'The same for as long as nothing changes that the check of an expression looks at, in the table '
  'or in the rules.';

create or replace function pgstream._is_safe_function(function oid) returns boolean
  language sql stable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select coalesce(bool_or(
    not p.proretset and not p.prosecdef and p.prokind = 'f'
    and case
      when p.pronamespace <> 'pg_catalog'::regnamespace then
        -- written in C and brought by an extension: only superusers make such
        p.provolatile = 'i' and l.lanname in ('c', 'internal') and exists (
          select from pg_depend d
          where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
      when p.proname in ('satisfies_hash_partition', 'ts_match_tt', 'ts_match_tq',
                         'pg_walfile_name', 'pg_walfile_name_offset') then false
      when p.provolatile = 'i' then true
      when p.provolatile = 'v' or p.proname = 'age' and p.pronargs = 1 then false
      else p.proname in (
          'array_to_json', 'array_to_string', 'concat', 'concat_ws', 'date_part', 'date_trunc',
          'extract', 'format', 'json_build_array', 'json_build_object', 'jsonb_build_array',
          'jsonb_build_object', 'jsonb_path_exists_tz', 'make_timestamptz', 'overlaps',
          'quote_literal', 'quote_nullable', 'row_to_json', 'timezone', 'to_char', 'to_date',
          'to_json', 'to_jsonb', 'to_number', 'to_timestamp')
        or exists (select from pg_operator o where o.oprcode = p.oid)
        or exists (select from pg_cast c where c.castfunc = p.oid)
    end
    and not exists (
      select from unnest(p.proargtypes::oid[] || p.prorettype) t(oid)
      where pgstream._is_catalog_reference(t.oid)
         or t.oid in ('money'::regtype, 'xml'::regtype, 'internal'::regtype, 'cstring'::regtype))
  ), false)
  from pg_proc p
  join pg_language l on l.oid = p.prolang
  where p.oid = function
$$;

comment on function pgstream._is_safe_function is
  'Whether the result depends on nothing but the arguments and on settings that are pinned when an '
  'expression is evaluated: functions of Postgres, and immutable ones of extensions in C.';

create or replace function pgstream._tree_numbers(tree text, pattern text) returns oid[]
  language sql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
as $$
  select coalesce(array_agg(distinct n.oid::oid), '{}')
  from regexp_matches(tree, pattern, 'g') m
  cross join regexp_split_to_table(m[1], '\s+') n(oid)
  where n.oid ~ '^[1-9]'
$$;

comment on function pgstream._tree_numbers is
  'The oids in the fields of an analysed tree that a pattern captures.';
