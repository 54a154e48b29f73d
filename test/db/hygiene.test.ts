import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
let sql: postgres.Sql;

beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());

/** Each row names an object and the rule that it breaks. */
const brokenRules = () => sql<{ object: string; rule: string }[]>`
  with ours as (
    select p.oid, p.oid::regprocedure::text as name, p.proname, p.prokind, p.provolatile,
           p.proisstrict, p.proparallel, p.prosecdef, p.prorettype, p.proacl, p.proconfig,
           p.prosrc, p.prosqlbody is not null as bound_at_creation
    from pg_proc p
    where p.pronamespace = 'pgstream'::regnamespace
  ), relations as (
    select c.oid, c.oid::regclass::text as name, c.relkind, c.relacl, c.relowner
    from pg_class c
    where c.relnamespace = 'pgstream'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  ), columns as (
    select a.attrelid, a.attnum, format('%s.%s', r.name, a.attname) as name, a.attacl, r.relowner
    from relations r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    where r.relkind <> 'S'
  ), types as (
    select t.oid, t.oid::regtype::text as name, t.typowner, t.typacl
    from pg_type t
    left join pg_class c on c.oid = t.typrelid
    where t.typnamespace = 'pgstream'::regnamespace
      and t.typtype in ('c', 'd', 'e', 'r') and coalesce(c.relkind = 'c', true)
  ), granted_to_all as (
    select name, coalesce(proacl, acldefault('f', proowner)) as acl
    from ours join pg_proc using (oid, proacl)
    union all
    select name, coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))
    from relations
    union all
    select name, attacl from columns
    union all
    select name, coalesce(typacl, acldefault('T', typowner)) from types
    union all
    select 'schema pgstream', coalesce(n.nspacl, acldefault('n', n.nspowner))
    from pg_namespace n where n.nspname = 'pgstream'
    union all
    select 'default privileges', d.defaclacl
    from pg_default_acl d where d.defaclnamespace = 'pgstream'::regnamespace
  )
  select name as object, 'its search_path is not pinned' as rule
  from ours
  where not bound_at_creation and prokind <> 'p'
    and not coalesce('search_path=pg_catalog, pg_temp' = any(proconfig), false)
  union all
  select name, 'a backslash in it means another thing where standard_conforming_strings is off'
  from ours
  where not bound_at_creation and strpos(prosrc, chr(92)) > 0
    and not coalesce('standard_conforming_strings=on' = any(proconfig), false)
  union all
  select name, 'it is a security definer without a pinned search_path or a bound body'
  from ours
  where prosecdef and proconfig is null
  union all
  select proname, 'it is overloaded' from ours group by proname having count(*) > 1
  union all
  select name, 'it is volatile, so it must be neither strict nor parallel safe'
  from ours
  where provolatile = 'v' and (proisstrict or proparallel <> 'u')
  union all
  select name, 'it is not volatile, so it must be parallel safe'
  from ours
  where provolatile <> 'v' and proparallel <> 's'
  union all
  select name, 'it is a trigger, so it must be volatile'
  from ours
  where prorettype in ('trigger'::regtype, 'event_trigger'::regtype) and provolatile <> 'v'
  union all
  select name, format('PUBLIC has %s on it', lower(a.privilege_type))
  from granted_to_all, aclexplode(acl) a
  where a.grantee = 0
  union all
  select name, 'it has no comment' from ours where obj_description(oid, 'pg_proc') is null
  union all
  select name, 'it has no comment'
  from relations
  where obj_description(oid, 'pg_class') is null
    -- a sequence of a column is described there
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = relations.oid
        and d.deptype in ('a', 'i') and d.refobjsubid > 0)
  union all
  select name, 'it has no comment' from columns where col_description(attrelid, attnum) is null
  union all
  select name, 'it has no comment' from types where obj_description(oid, 'pg_type') is null
  union all
  select format('policy %s', p.polname), 'it has no comment'
  from pg_policy p
  join relations r on r.oid = p.polrelid
  where obj_description(p.oid, 'pg_policy') is null
  union all
  select 'schema pgstream', 'it has no comment'
  where obj_description('pgstream'::regnamespace, 'pg_namespace') is null
  union all
  select format('%s of %s', k.conname, coalesce(nullif(k.conrelid, 0)::regclass::text, k.contypid::regtype::text)),
         'its name was made up by Postgres, not by us'
  from pg_constraint k
  where k.connamespace = 'pgstream'::regnamespace and k.contype <> 'n'
    and k.conname ~ '_(check|key|fkey|excl)[0-9]*$'
  union all
  select k.conname, 'a foreign key that does not say what a delete does'
  from pg_constraint k
  where k.connamespace = 'pgstream'::regnamespace and k.contype = 'f' and k.confdeltype = 'a'
  order by 1, 2`;

test('the objects of schema pgstream keep the rules of the house', async () => {
  const broken = await brokenRules();
  expect(broken.map(({ object, rule }) => `${object}: ${rule}`)).toEqual([]);
});

test('nobody without a grant can use anything in schema pgstream', async () => {
  await sql.unsafe('create role stranger');
  try {
    await sql.begin(async (tx) => {
      await tx`set local role stranger`;
      const probe = async (text: string) =>
        tx
          .savepoint((sp) => sp.unsafe(text))
          .then(
            () => 'allowed',
            (error: postgres.PostgresError) => error.code,
          );
      expect(await probe('select pgstream.xid()')).toBe('42501');
      expect(await probe('select from pgstream.webhook_subscriptions')).toBe('42501');
      expect(await probe('create table pgstream.mine ()')).toBe('42501');
      expect(await probe(`select pgstream.refresh_schema('public')`)).toBe('42501');
    });
  } finally {
    await sql.unsafe('drop role stranger');
  }
});

const checker = 'plpgsql_check';
const probe = await createDatabase();
const [found] = await probe.sql`select from pg_available_extensions where name = ${checker}`;
await probe.drop();
if (!found) console.warn(`${checker} is not installed: bodies of functions are not checked by it`);

describe.runIf(found)('plpgsql_check', () => {
  test('finds nothing wrong in any body', async () => {
    await sql.unsafe(`create extension ${checker}`);
    const findings = await sql.unsafe(`
      select p.oid::regprocedure::text as function, c.*
      from pg_proc p
      left join pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal
      cross join lateral plpgsql_check_function(
        p.oid, coalesce(t.tgrelid, 0), fatal_errors => false, extra_warnings => false) c
      where p.pronamespace = 'pgstream'::regnamespace
        and p.prolang = (select l.oid from pg_language l where l.lanname = 'plpgsql')`);
    expect([...findings]).toEqual([]);
  });
});
