import type postgres from 'postgres';
import { withoutNumbers } from './session.js';

/** Schemas, publications and event triggers that are neither the server's nor ours. */
const own = (name: string) =>
  `${name} !~ '^(pg_|pgstream$|pgstream_)' and ${name} <> 'information_schema'`;

const relations = `select c.*, n.nspname from pg_class c
  join pg_namespace n on n.oid = c.relnamespace where ${own('n.nspname')}`;

/** One line for each property of each object that the user has, in whatever order. */
const queries = [
  `select format('schema %s of %s %s', nspname, nspowner::regrole, nspacl)
   from pg_namespace where ${own('nspname')}`,
  `select format('relation %s.%s %s%s of %s acl %s options %s identity %s security %s%s kind of %s %s',
     nspname, relname, relkind, relpersistence, relowner::regrole, relacl, reloptions, relreplident,
     relrowsecurity, relforcerowsecurity, reloftype::regtype, pg_get_expr(relpartbound, oid))
   from (${relations}) c`,
  `select format('column %s.%s.%s %s %s collation %s not null %s default %s identity %s generated %s
     storage %s compression %s statistics %s acl %s options %s local %s %s',
     nspname, relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation,
     a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage,
     a.attcompression, a.attstattarget, a.attacl, a.attoptions, a.attislocal, a.attinhcount)
   from (${relations}) c
   join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum`,
  `select format('constraint %s.%s %s %s valid %s local %s %s', nspname, relname, k.conname,
     pg_get_constraintdef(k.oid), k.convalidated, k.conislocal, k.coninhcount)
   from (${relations}) c join pg_constraint k on k.conrelid = c.oid`,
  `select format('index %s valid %s ready %s clustered %s identity %s', pg_get_indexdef(i.indexrelid),
     i.indisvalid, i.indisready, i.indisclustered, i.indisreplident)
   from (${relations}) c join pg_index i on i.indrelid = c.oid`,
  `select format('%s of %s.%s detaching %s', h.inhrelid::regclass, nspname, relname,
     h.inhdetachpending)
   from (${relations}) c join pg_inherits h on h.inhparent = c.oid`,
  `select format('trigger %s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
   from (${relations}) c join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal`,
  `select format('rule %s enabled %s', pg_get_ruledef(r.oid), r.ev_enabled)
   from (${relations}) c join pg_rewrite r on r.ev_class = c.oid`,
  `select format('policy %s on %s.%s %s %s %s using %s check %s', p.polname, nspname, relname,
     p.polpermissive, p.polcmd, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid),
     pg_get_expr(p.polwithcheck, p.polrelid))
   from (${relations}) c join pg_policy p on p.polrelid = c.oid`,
  `select format('statistics %s', pg_get_statisticsobjdef(s.oid))
   from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where ${own('nspname')}`,
  `select format('sequence %s.%s', schemaname, to_jsonb(s))
   from pg_sequences s where ${own('schemaname')}`,
  `select format('type %s.%s %s of %s acl %s base %s default %s not null %s labels %s', nspname,
     typname, typtype, typowner::regrole, typacl, nullif(typbasetype, 0)::regtype, typdefault,
     typnotnull,
     array(select e.enumlabel from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder))
   from pg_type t join pg_namespace n on n.oid = typnamespace where ${own('nspname')}`,
  `select format('domain %s %s %s', k.contypid::regtype, k.conname, pg_get_constraintdef(k.oid))
   from pg_constraint k join pg_namespace n on n.oid = connamespace
   where k.contypid <> 0 and ${own('nspname')}`,
  `select format('routine %s of %s acl %s settings %s: %s', p.oid::regprocedure, proowner::regrole,
     proacl, proconfig, case when prokind in ('f', 'p') then pg_get_functiondef(p.oid) end)
   from pg_proc p join pg_namespace n on n.oid = pronamespace where ${own('nspname')}`,
  `select format('extension %s %s in %s', extname, extversion, extnamespace::regnamespace)
   from pg_extension`,
  `select format('publication %s', to_jsonb(p) - 'oid') from pg_publication p
   where ${own('pubname')}`,
  `select format('published %s', t) from pg_publication_tables t where ${own('pubname')}`,
  `select format('event trigger %s on %s %s enabled %s calls %s', evtname, evtevent, evttags,
     evtenabled, evtfoid::regproc)
   from pg_event_trigger where ${own('evtname')}`,
  `select format('server %s of %s %s', srvname, srvowner::regrole, srvoptions)
   from pg_foreign_server`,
  `select format('default privileges of %s in %s for %s: %s', defaclrole::regrole,
     defaclnamespace::regnamespace, defaclobjtype, defaclacl)
   from pg_default_acl`,
  `select format('large object of %s %s', lomowner::regrole, lomacl) from pg_largeobject_metadata`,
  `select format('comment on %s: %s', o.what, o.description)
   from (select pg_describe_object(classoid, objoid, objsubid) as what, description
         from pg_description where objoid >= 16384) o
   where o.what !~ '\\mpgstream'`,
];

const everything = queries.map((query) => `(${query})`).join('\nunion all\n');

/** All that a user can tell of a database: objects, their properties and rows, as sorted lines. */
export async function catalogue(sql: postgres.Sql, database: string): Promise<string[]> {
  const lines = await sql.begin(async (transaction) => {
    // So that each name is printed in full.
    await transaction.unsafe('set local search_path = pg_catalog; set local jit = off');
    const objects = await transaction.unsafe<{ line: string }[]>(
      `select line from (${everything}) l(line)`,
    );
    const tables = await transaction.unsafe<{ name: string }[]>(
      `select format('%I.%I', nspname, relname) as name from (${relations}) c
       where relkind in ('r', 'm') and relispopulated`,
    );
    const rows = tables.map(
      ({ name }) => `select format('row of %s: %s', ${quoted(name)}, t) from only ${name} t`,
    );
    const contents = rows.length > 0 ? await transaction.unsafe(rows.join('\nunion all\n')) : [];
    return [...objects.map(({ line }) => line), ...contents.map((row) => String(row['format']))];
  });
  return lines.map((line) => withoutNumbers(line, database)).sort();
}

const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;
