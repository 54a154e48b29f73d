/** Tables whose changes do not all arrive. */
import type { Ask } from '../lease/connection.js';
import type { Finding } from './finding.js';

export async function tableFindings(ask: Ask): Promise<Finding[]> {
  return [
    ...(await unreconciled(ask)),
    ...(await withoutUpkeep(ask)),
    ...(await withoutIdentity(ask)),
    ...(await unpublished(ask)),
    ...(await partitioned(ask)),
  ];
}

async function unreconciled(ask: Ask): Promise<Finding[]> {
  const [row] = await ask<{ count: number; last: string; tag: string }>(
    `select count(*)::integer as count,
       (array_agg(message order by id desc))[1] as last,
       (array_agg(command_tag order by id desc))[1] as tag
     from pgstream.ddl_error where reconciled_at is null having count(*) > 0`,
  );
  if (!row) return [];
  const { count, last, tag } = row;
  return [
    {
      severity: 'error',
      code: 'ddl_error',
      what: `${count} schema ${count === 1 ? 'change' : 'changes'} could not be followed; the last: ${tag}: ${last}`,
      next: 'select pgstream.reconcile();',
    },
  ];
}

/** The one case in which a statement of a user can fail because of us. */
async function withoutUpkeep(ask: Ask): Promise<Finding[]> {
  const [advice] = await ask<{ message: string | null; hint: string }>(
    'select message, hint from pgstream._upkeep_advice()',
  );
  if (!advice?.message) return [];
  const { message, hint } = advice;
  return [{ severity: 'notice', code: 'no_upkeep', what: message, next: hint }];
}

/** Of a partitioned table, each partition needs an identity, and so does the table itself. */
async function withoutIdentity(ask: Ask): Promise<Finding[]> {
  const rows = await ask<{ table: string; remedies: string[] }>(
    `select format('%I.%I', n.nspname, c.relname) as table,
       to_json(array_agg(pgstream._identity_remedy(u.part::regclass) order by u.part = c.oid, u.part))
         as remedies
     from pgstream._wanted_tables() w
     join pg_class c on c.oid = w.rel
     join pg_namespace n on n.oid = c.relnamespace
     cross join lateral pgstream._unidentified(array[w.rel]) u
     where w.wants_update
     group by n.nspname, c.relname, c.oid
     order by 1`,
  );
  return rows.map(({ table, remedies }) => ({
    severity: 'warning',
    code: 'no_replica_identity',
    what: `updates and deletes of ${table} are not delivered: it has no replica identity`,
    next: remedies.join(' '),
  }));
}

async function unpublished(ask: Ask): Promise<Finding[]> {
  const rows = await ask<{ table: string; publication: string }>(
    `select format('%I.%I', n.nspname, c.relname) as table, p.publication
     from pgstream._publication_changes() p
     join pg_class c on c.oid = p.rel
     join pg_namespace n on n.oid = c.relnamespace
     where p.wanted
     order by 1, 2`,
  );
  return rows.map(({ table, publication }) => ({
    severity: 'error',
    code: 'not_published',
    what: `${table} is subscribed to, but not in publication ${publication}`,
    next: 'select pgstream.sync_publications();',
  }));
}

/** What leaves a partitioned table with a partition, the server never says of it. */
async function partitioned(ask: Ask): Promise<Finding[]> {
  const [row] = await ask<{ tables: string }>(
    `select string_agg(format('%I.%I', n.nspname, c.relname), ', ' order by n.nspname, c.relname)
       as tables
     from pgstream._wanted_tables() w
     join pg_class c on c.oid = w.rel and c.relkind = 'p'
     join pg_namespace n on n.oid = c.relnamespace
     where exists (
       select from pgstream.webhook_subscriptions s
       where coalesce(s.event_types = '{}' or s.event_types && '{T,*}', true)
         and pgstream._name_matches(n.nspname, s.schema_name)
         and pgstream._name_matches(c.relname, s.table_name)
     )
     having count(*) > 0`,
  );
  if (!row) return [];
  return [
    {
      severity: 'notice',
      code: 'partitions',
      what: `a TRUNCATE, DETACH or DROP of a single partition is no event: ${row.tables}`,
      next: 'Where that matters, delete its rows first.',
    },
  ];
}
