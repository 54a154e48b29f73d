/**
 * Functions and operators in `public` that would win over those of pg_catalog wherever the former is
 * in the search_path: for every name that our SQL could mean. Each leaves a mark of who called it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type postgres from 'postgres';

const root = path.resolve(import.meta.dirname, '../..');

/** All SQL of ours, and whatever stands around it. */
function sources(): string {
  const files = ['src', 'sql', 'migrations'].flatMap((directory) =>
    readdirSync(path.join(root, directory), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(ts|sql)$/.test(file))
      .map((file) => path.join(root, directory, file)),
  );
  return files.map((file) => readFileSync(file, 'utf8')).join('\n');
}

const tokens = (text: string, pattern: RegExp) =>
  [...new Set(Array.from(text.matchAll(pattern), ([token]) => token))].join(' ');

/** What polymorphic arguments are replaced by: an exact match is better than one of theirs. */
const types = `text bpchar name json jsonb bigint integer oid boolean pg_lsn timestamptz interval
  regclass "char" smallint numeric float8 xid
  text[] name[] oid[] integer[] bigint[] jsonb[]`.split(/\s+/);
/** Operators for two of these types, where pg_catalog has none and would convert one of them. */
const mixedOperators = ['=', '<>', '<', '>', '<=', '>=', '||'];
const mixedTypes = types.slice(0, 12);

/** Puts them into `public`; the connection has to resolve names in pg_catalog. */
export async function createShadows(sql: postgres.Sql): Promise<void> {
  const text = sources();
  await sql.unsafe(`
    create table public.marks (what text, who text);
    grant insert on public.marks to public;
    create sequence public.marked;
    grant usage on public.marked to public;
    create function public.mark(what text) returns void
      language plpgsql set search_path = pg_catalog, pg_temp
    as $$
    begin
      raise log 'captured: % (%)', what, current_user;
      perform nextval('public.marked');
      insert into public.marks values (what, current_user);
    end
    $$`);
  await sql.begin(async (tx) => {
    await tx`set local check_function_bodies = off`;
    await tx`select set_config('test.names', ${tokens(text, /\b[a-z_][a-z0-9_]*(?=\()/g)}, true),
      set_config('test.operators', ${tokens(text, /[-+*/<>=~!@#%^&|?]+/g)}, true),
      set_config('test.types', ${types.join(' ')}, true),
      set_config('test.mixed_types', ${mixedTypes.join(' ')}, true),
      set_config('test.mixed_operators', ${mixedOperators.join(' ')}, true)`;
    await tx.unsafe(shadows);
  });
}

/** What has been called, whether that was kept or rolled back. */
export async function marksOf(sql: postgres.Sql): Promise<{ calls: boolean; marks: string[] }> {
  const [row] = await sql<{ calls: boolean }[]>`select is_called as calls from public.marked`;
  const marks = await sql<{ mark: string }[]>`
    select distinct format('%s by %s', what, who) as mark from public.marks order by 1`;
  return { calls: row!.calls, marks: marks.map(({ mark }) => mark) };
}

const shadows = `
do $do$
declare
  v_types constant text[] := string_to_array(current_setting('test.types'), ' ');
  v_mixed constant text[] := string_to_array(current_setting('test.mixed_types'), ' ');
  v_used constant text[] := array(select format_type(to_regtype(t), null) from unnest(v_types) t);
  v_shadow record;
  v_function text;
  v_body text;
begin
  create temporary table shadow on commit drop as
    with named as (
      select p.oid, p.proname, p.provariadic, p.prorettype, p.proretset, p.proargtypes::oid[] as args
      from pg_proc p
      where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind in ('f', 'a', 'w')
        and p.proname = any (string_to_array(current_setting('test.names'), ' '))
    ), replaced as (
      -- as it is, then with each type in the place of those that stand for any
      select n.*, r.type, case when r.type like '%[]' then '' else '[]' end as brackets
      from named n
      cross join lateral unnest(array[null::text] || v_types) r(type)
    ), signed as (
      select r.proname as name, r.proretset, r.prorettype::regtype::text as returns, array(
               select case
                 when y.typname in ('anyarray', 'anycompatiblearray') then r.type || r.brackets
                 when y.typname like 'any%' then coalesce(r.type, y.typname)
                 else format_type(y.oid, null) end
               from unnest(r.args) with ordinality a(oid, n)
               join pg_type y on y.oid = a.oid
               order by a.n) as arguments,
             r.provariadic <> 0 as is_variadic
      from replaced r
      union all
      -- calls of functions that take anything: a name, then values of any two types
      select distinct n.proname, n.proretset, n.prorettype::regtype::text,
             case count when 1 then array['text', one.type] else array['text', one.type, 'text', two.type]
             end, false
      from named n
      cross join unnest(v_types) one(type)
      cross join unnest(v_types[:8]) two(type)
      cross join unnest(array[1, 2]) count
      where n.provariadic = '"any"'::regtype
    )
    select distinct 'function' as kind, s.name, case
             when s.returns ~ '^("any"|any|internal|cstring)' then 'text'
             when s.returns = 'void' then 'integer' else s.returns end as returns,
           s.proretset as is_set, s.is_variadic,
           array_to_string(s.arguments[:cardinality(s.arguments) - s.is_variadic::integer]
             || case when s.is_variadic then array['variadic ' || case
                  when s.arguments[cardinality(s.arguments)] like '%[]'
                    then s.arguments[cardinality(s.arguments)]
                  else s.arguments[cardinality(s.arguments)] || '[]' end] end, ', ') as arguments,
           null::text as left_type, null::text as right_type
    from signed s
    where not exists (
      select from unnest(s.arguments) a
      where a like 'any%' or a in ('internal', 'cstring', '"any"', 'record[]', 'table_am_handler'))
    union all
    select 'operator', o.oprname, case when r.typtype = 'p' then 'text' else format_type(r.oid, null) end,
           false, false, concat_ws(', ', y.left_type, y.right_type), y.left_type, y.right_type
    from pg_operator o
    join pg_type a on a.oid = o.oprleft
    join pg_type b on b.oid = o.oprright
    join pg_type r on r.oid = o.oprresult
    left join unnest(v_types[:12]) v(type) on a.typname like 'any%' and b.typname like 'any%'
    cross join lateral (
      select coalesce(v.type || case when a.typname like '%array' then '[]' else '' end,
                      format_type(a.oid, null)) as left_type,
             coalesce(v.type || case when b.typname like '%array' then '[]' else '' end,
                      format_type(b.oid, null)) as right_type
    ) y
    where o.oprname = any (string_to_array(current_setting('test.operators'), ' '))
      and (v.type is not null
        or format_type(a.oid, null) = any (v_used) and format_type(b.oid, null) = any (v_used))
    union all
    select 'operator', o, case o when '||' then 'text' else 'boolean' end, false, false,
           concat_ws(', ', a, b), a, b
    from unnest(string_to_array(current_setting('test.mixed_operators'), ' ')) o,
      unnest(v_mixed) a, unnest(v_mixed) b;

  for v_shadow in select * from pg_temp.shadow loop
    begin
      v_function := case v_shadow.kind when 'function' then v_shadow.name
        else format('operator %s', v_shadow.returns) end;
      v_body := format('$$ begin perform public.mark(%L); return%s; end $$',
        format('%s(%s)', v_function, v_shadow.arguments),
        case when v_shadow.is_set then '' else ' null' end);
      if v_shadow.kind = 'function'
        or to_regprocedure(format('public.%I(%s)', v_function, v_shadow.arguments)) is null then
        execute format('create function public.%I(%s) returns %s%s language plpgsql as %s',
          v_function, v_shadow.arguments, case when v_shadow.is_set then 'setof ' else '' end,
          v_shadow.returns, v_body);
      end if;
      if v_shadow.kind = 'operator' then
        execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.%I)',
          v_shadow.name, v_shadow.left_type, v_shadow.right_type, v_function);
      end if;
    exception
      -- made already, or for types that nobody can make a function of
      when duplicate_function or invalid_function_definition or feature_not_supported then null;
    end;
  end loop;
end
$do$`;
