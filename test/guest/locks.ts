import type postgres from 'postgres';
import { withoutNumbers, type Session } from './session.js';

/** A lock as somebody would say it. */
export interface Lock {
  /** Of a relation or an object its name, or `gone`; of anything else its type. */
  readonly of: string;
  readonly mode: string;
  readonly kind: 'relation' | 'publication' | 'other';
  /** Whether it is a table, or a partition of one, that one of our publications has. */
  readonly published: boolean;
}

/**
 * Every lock that a session may hold because of us, and why nobody is hurt. Whoever adds a line here
 * has it in the contract first.
 */
const allowed: readonly {
  readonly why: string;
  readonly what: (lock: Lock, usual: ReadonlySet<string>) => boolean;
}[] = [
  {
    why: 'who has ACCESS EXCLUSIVE without us, too, holds up everybody anyway',
    what: ({ of }, usual) => usual.has(said({ of, mode: 'AccessExclusiveLock' })),
  },
  {
    why: 'our own tables, which nobody else has a reason to lock',
    what: ({ of }) => /^(toast of )?pgstream\./.test(of),
  },
  {
    why: 'a table is published only while no older transaction is writing it',
    what: ({ published, mode }) => published && mode === 'ShareRowExclusiveLock',
  },
  {
    why: 'Postgres takes it on a table that a publication gets or loses',
    what: ({ published, mode }) => published && mode === 'ShareUpdateExclusiveLock',
  },
  {
    why: 'our publications and what is in them, which nobody else has a reason to change',
    what: ({ kind, of }) =>
      kind === 'publication' &&
      /^(publication pgstream_|.* in publication pgstream_|gone$)/.test(of),
  },
  {
    why: 'the catalogs are read, which conflicts with rewriting one of them and nothing else',
    what: ({ of, mode }) => /^(toast of )?pg_catalog\./.test(of) && mode === 'AccessShareLock',
  },
  {
    why: 'the catalogs that say what is published are written, as by any change of a publication',
    what: ({ of, mode }) =>
      /^pg_catalog\.pg_(publication|publication_rel|depend)\b/.test(of) &&
      mode === 'RowExclusiveLock',
  },
  {
    why: "a transaction's own number",
    what: ({ of, mode }) => of === 'transactionid' && mode === 'ExclusiveLock',
  },
];

export const said = ({ of, mode }: Pick<Lock, 'of' | 'mode'>): string => `${mode} on ${of}`;

/** usual: what is held without us. */
export const isAllowed = (lock: Lock, usual: ReadonlySet<string>): boolean =>
  usual.has(said(lock)) || allowed.some(({ what }) => what(lock, usual));

interface Held {
  locktype: string;
  mode: string;
  relation: string | null;
  classid: string | null;
  objid: string | null;
  objsubid: number | null;
}

/** Names of relations and objects by oid, kept for what is gone a statement later. */
export type Names = Map<string, Pick<Lock, 'of' | 'published'>>;

/**
 * The locks that a session, or a transaction that this database has prepared, holds between two
 * statements. They are read by somebody else, so that asking adds none; what only the session can see
 * yet it names itself, in a subtransaction that is rolled back with its locks.
 */
export async function locksOf(
  session: Session,
  observer: postgres.Sql,
  names: Names,
  database: string,
): Promise<Lock[]> {
  const held = await observer<Held[]>`
    select distinct l.locktype, l.mode, l.relation::text, l.classid::text, l.objid::text,
                    l.objsubid::integer
    from pg_locks l
    where l.granted
      and (l.pid = ${session.pid}
           or l.pid is null
              and l.database = (select oid from pg_database where datname = current_database()))
      and l.locktype <> 'virtualxid'`;
  const objects = held.filter(isNamed);
  if (objects.length > 0 && session.status === 'T') {
    await session.ask('savepoint guest_names', []);
    await session.ask('set local search_path = pg_catalog, pg_temp', []);
    await name(objects, names, database, (sql, values) => session.ask(sql, values));
    await session.ask('rollback to guest_names', []);
    await session.ask('release guest_names', []);
  }
  const unknown = objects.filter((lock) => !names.has(keyOf(lock)));
  await name(unknown, names, database, (sql, values) => observer.unsafe(sql, values as string[][]));
  return held.map((lock) => ({
    mode: lock.mode,
    kind: kindOf(lock),
    published: false,
    ...(isNamed(lock) ? (names.get(keyOf(lock)) ?? { of: 'gone' }) : { of: describe(lock) }),
  }));
}

interface Description {
  key: string;
  of: string;
  published: boolean;
}
type Ask = (sql: string, values: unknown[]) => Promise<readonly unknown[]>;

/** A rewritten table's successor has a number for a name, and is gone with the statement. */
const description = `
  select format('%s %s', k.classid, k.objid) as key,
         coalesce(
           case when c.oid is not null then
             case when t.oid is not null then 'toast of ' else '' end
               || format('%s.%s', tn.nspname, coalesce(t.relname, c.relname))
           end,
           d.of) as of,
         exists (
           select from pg_publication_rel r
           join pg_publication p on p.oid = r.prpubid and p.pubname ~ '^pgstream_'
           where r.prrelid = c.oid or r.prrelid in (select pg_partition_ancestors(c.oid)))
           as published
  from unnest($1::oid[], $2::oid[]) k(classid, objid)
  left join pg_class c on k.classid = 'pg_class'::regclass and c.oid = k.objid
  left join pg_index i on i.indexrelid = c.oid
  left join pg_class t on t.reltoastrelid in (c.oid, i.indrelid) and t.reltoastrelid <> 0
  left join pg_namespace tn on tn.oid = coalesce(t.relnamespace, c.relnamespace)
  cross join lateral (
    -- the origin of a subscription is nothing that Postgres describes
    select case when k.classid = 'pg_replication_origin'::regclass then 'a replication origin'
             else pg_describe_object(k.classid, k.objid, 0) end) d(of)
  where c.oid is not null or d.of is not null`;

async function name(
  held: readonly Held[],
  names: Names,
  database: string,
  ask: Ask,
): Promise<void> {
  if (held.length === 0) return;
  const found = await ask(description, [
    held.map(({ classid, relation }) => (relation === null ? classid : '1259')),
    held.map(({ objid, relation }) => relation ?? objid),
  ]);
  for (const { key, of, published } of found as readonly Description[]) {
    names.set(key, { of: withoutNumbers(of, database), published });
  }
}

/** Pages and rows, which SERIALIZABLE transactions hold, are told by their relation. */
const isNamed = ({ locktype, relation }: Held) => relation !== null || locktype === 'object';
const keyOf = ({ relation, classid, objid }: Held) =>
  relation === null ? `${classid} ${objid}` : `1259 ${relation}`;

function kindOf({ locktype, relation, classid }: Held): Lock['kind'] {
  if (relation !== null) return 'relation';
  return locktype === 'object' && ofPublications.has(classid!) ? 'publication' : 'other';
}

/** pg_publication, pg_publication_rel, pg_publication_namespace */
const ofPublications = new Set(['6104', '6106', '6237']);

/** An application's own advisory locks are told by their keys. */
const describe = ({ locktype, classid, objid, objsubid }: Held): string =>
  locktype === 'advisory' ? `advisory ${classid}/${objid}/${objsubid}` : locktype;
