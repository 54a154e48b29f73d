/** Subscriptions whose filter or payload cannot be, or is not safely, evaluated. */
import { withClient } from '../install/schema.js';
import type { Ask } from '../lease/connection.js';
import type { Connection } from '../settings/connection.js';
import type { Finding } from './finding.js';

export async function expressionFindings(
  ask: Ask,
  evaluator: Connection | undefined,
): Promise<Finding[]> {
  const [row] = await ask<{ count: number }>(
    'select count(*)::integer as count from pgstream.webhook_subscriptions where program is not null',
  );
  if (row!.count === 0) return [];
  return [...(await invalid(ask)), ...(await loginFindings(evaluator))];
}

async function invalid(ask: Ask): Promise<Finding[]> {
  const rows = await ask<{ id: string; reason: string }>(
    `select id::text, invalid_reason as reason from pgstream.webhook_subscriptions
     where invalid_reason is not null order by id`,
  );
  return rows.map(({ id, reason }) => ({
    severity: 'error',
    code: 'invalid_expression',
    what: `subscription ${id} is invalid, its events are kept: ${reason}`,
    next: `update pgstream.webhook_subscriptions set filter = ..., payload = ... where id = ${id};`,
  }));
}

async function loginFindings(evaluator: Connection | undefined): Promise<Finding[]> {
  const next =
    "create role pgstream_eval login password '...'; then set PGSTREAM_EVALUATOR_URL to that login.";
  if (!evaluator) {
    return [
      {
        severity: 'warning',
        code: 'no_evaluator',
        what: "filters and payloads are evaluated by the runner's own login",
        next,
      },
    ];
  }
  return withClient(evaluator, async (client) => {
    const { rows } = await client.query<{ user: string; rights: string | null }>(
      `select current_user as user, nullif(concat_ws(', ',
         case when r.rolsuper then 'is a superuser' end,
         case when r.rolreplication then 'may replicate' end,
         case when r.rolcreaterole then 'may create roles' end,
         case when exists (select from pg_auth_members m where m.member = r.oid)
           then 'is a member of other roles' end,
         case when has_schema_privilege('pgstream', 'usage') then 'may use schema pgstream' end,
         case when exists (
           select from pg_class c where c.relowner = r.oid
         ) then 'owns tables' end), '') as rights
       from pg_roles r where r.rolname = current_user`,
    );
    const { user, rights } = rows[0]!;
    if (rights === null) return [];
    return [
      {
        severity: 'warning' as const,
        code: 'mighty_evaluator',
        what: `the login of PGSTREAM_EVALUATOR_URL, ${user}, ${rights}`,
        next,
      },
    ];
  });
}
