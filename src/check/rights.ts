/** Secrets that anybody with the files of the server can read, and subscriptions that are denied. */
import type { Ask } from '../lease/connection.js';
import type { Finding } from './finding.js';

export async function rightFindings(ask: Ask): Promise<Finding[]> {
  return [...(await plainSecrets(ask)), ...(await deniedSubscriptions(ask))];
}

async function plainSecrets(ask: Ask): Promise<Finding[]> {
  const [row] = await ask<{ count: number }>(
    `select count(*)::integer as count from pgstream.subscription_secrets
     where not starts_with(secret, 'sealed:') having count(*) > 0`,
  );
  if (!row) return [];
  const { count } = row;
  return [
    {
      severity: 'notice',
      code: 'plain_secrets',
      what: `${count} ${count === 1 ? 'secret stands' : 'secrets stand'} in the database as plain text`,
      next: 'Start pgstream run with PGSTREAM_SECRET_KEY, made by: openssl rand -base64 32',
    },
  ];
}

async function deniedSubscriptions(ask: Ask): Promise<Finding[]> {
  const rows = await ask<{ id: string; what: string; next: string }>(
    `select s.id::text, r.reason as what, r.remedy as next
     from pgstream.webhook_subscriptions s
     left join pg_namespace n on n.nspname = s.schema_name
     left join pg_class c on c.relnamespace = n.oid and c.relname = s.table_name
     cross join lateral pgstream._restrictions(s.owner, array[coalesce(c.oid, 0)]) r
     where r.problem not in ('gone')
     order by s.id`,
  );
  return rows.map(({ id, what, next }) => ({
    severity: 'warning',
    code: 'denied',
    what: `nothing is sent to subscription ${id}: ${what}`,
    next: next.replace('where id = ...', `where id = ${id}`),
  }));
}
