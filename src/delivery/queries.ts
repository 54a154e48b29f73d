/** What is read of `pgstream.webhook_deliveries`, outside of any transaction. */
import type { Sql } from 'postgres';
import { formatLsn } from '../replication/lsn.js';
import { arrayLiteral } from '../source/array-literal.js';
import type { LogPlace } from './delivery.js';
import type { StoredRow } from './rows.js';

/** A body that is read along with its row. */
const smallBytes = 4 * 1024;

interface Waiting {
  readonly subscription: number;
  readonly bytes: number;
}

/** The bytes that wait for each subscription, or for one. */
export const bytesWaiting = (sql: Sql, subscription: number | null = null) => sql<Waiting[]>`
  select subscription::float8 as subscription, sum(octet_length(body))::float8 as bytes
  from pgstream.webhook_deliveries
  where ${subscription === null ? sql`true` : sql`subscription = ${subscription}`}
  group by subscription`;

/** How many of these are still to be delivered. */
export const countPending = (sql: Sql, ids: readonly string[]) => sql<{ count: number }[]>`
  select count(*)::integer as count from pgstream.webhook_deliveries
  where webhook_id = any(${arrayLiteral(ids)}::text[]) and state = 'pending'`;

/** The bodies of those of them that are still to be delivered. */
export const bodiesOf = (sql: Sql, ids: readonly string[]) => sql<{ id: string; body: Buffer }[]>`
  select webhook_id as id, convert_to(body, 'UTF8') as body from pgstream.webhook_deliveries
  where webhook_id = any(${arrayLiteral(ids)}::text[]) and state = 'pending'`;

/** What waits behind a place, in order; with the bodies that are small, where these are wanted. */
export const rowsBehind = (
  sql: Sql,
  subscription: number,
  { commitLsn, ordinal }: LogPlace,
  limit: number,
  withBodies: boolean,
) => sql<StoredRow[]>`
  select webhook_id, commit_lsn, ordinal::float8 as ordinal, schema_name, table_name, action, format,
         committed_at::text as committed_at, attempts, replayed, barrier,
         to_json(columns) as columns, to_json(lane_keys) as lane_keys, to_json(lane_tables) as lane_tables,
         octet_length(body) as bytes,
         case when octet_length(body) <= ${withBodies ? smallBytes : 0}
           then convert_to(body, 'UTF8')
         end as body,
         extract(epoch from active_for)::float8 * 1000 as active_ms
  from pgstream.webhook_deliveries
  where subscription = ${subscription} and state = 'pending'
    and (commit_lsn, ordinal) > (${formatLsn(commitLsn)}::pg_lsn, ${ordinal})
  order by commit_lsn, ordinal
  limit ${limit}`;
