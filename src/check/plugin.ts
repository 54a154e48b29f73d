/** What the output plugin of the slot costs. */
import type { Ask } from '../lease/connection.js';
import type { Finding } from './finding.js';

/** Nothing where the slot has pgoutput, which has none of these limits. */
export async function pluginFindings(ask: Ask, slotName: string): Promise<Finding[]> {
  const [slot] = await ask<{ judging: number; patterns: number; partitioned: number }>(
    `select
       count(*) filter (where s.filter is not null or s.payload is not null)::integer as judging,
       count(*) filter (where '' in (s.schema_name, s.table_name)
         or s.schema_name ~ '[*?]' or s.table_name ~ '[*?]')::integer as patterns,
       count(*) filter (where exists (
         select from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = s.schema_name and c.relname = s.table_name and c.relkind = 'p'
       ))::integer as partitioned
     from pg_replication_slots r
     left join pgstream.webhook_subscriptions s on true
     where r.slot_name = $1 and r.plugin = 'wal2json'
     having count(r) > 0`,
    [slotName],
  );
  if (!slot) return [];
  const findings: Finding[] = [];
  if (slot.judging > 0) {
    findings.push({
      severity: 'notice',
      code: 'wal2json_nan',
      what: 'filters and payloads take NaN and Infinity of number columns for null, since the slot uses wal2json',
      next: 'A slot with pgoutput tells them apart.',
    });
  }
  if (slot.patterns + slot.partitioned > 0) {
    findings.push({
      severity: 'notice',
      code: 'wal2json_all_tables',
      what: 'changes of all tables are sent to the runner, since the slot uses wal2json and a subscription is to a pattern of names or to a partitioned table',
      next: 'Name tables one by one, or use a slot with pgoutput.',
    });
  }
  return findings;
}
