/** `pgstream.snapshot_requests` and `pgstream.snapshot_tables`, as the runner reads and writes them. */
import type { Sql } from 'postgres';
import { eventIdPrefix } from '../event/webhook-id.js';
import { formatLsn, type Lsn } from '../replication/lsn.js';
import type { SnapshotTables } from '../settings/snapshot-tables.js';
import { arrayLiteral } from '../source/array-literal.js';
import type { Transactions } from '../source/transactions.js';

export type State = 'pending' | 'starting' | 'running' | 'waiting' | 'paused' | 'done' | 'failed';

/** A table of a request that is not done. */
export interface Job {
  readonly request: number;
  readonly oid: number;
  /** Its name at present, or the last that is known. */
  readonly schema: string;
  readonly table: string;
  /** Who is sent the rows; null for everybody. */
  readonly subscription: number | null;
  readonly chunkRows: number;
  readonly share: number;
  readonly paused: boolean;
  readonly setting: string | null;
  /** In microseconds since 2000-01-01. */
  readonly createdAt: string;
  readonly state: State;
  readonly reason: string | null;
  readonly keyColumns: readonly string[] | null;
  readonly cursor: readonly string[] | null;
  readonly passes: number;
  readonly rowsDone: number;
  readonly bytes: number;
}

/** How far a table has been read. */
export interface Position {
  /** The columns of the key, with their types, and their values in the last row. */
  readonly key: readonly string[];
  readonly cursor: readonly string[] | undefined;
  readonly rows: number;
  readonly bytes: number;
}

export const openJobs = (sql: Sql) => sql<Job[]>`
  select r.id::float8 as request, t.oid::float8 as oid, coalesce(n.nspname, t.schema_name) as schema,
    coalesce(c.relname, t.table_name) as table, r.subscription::float8 as subscription, r.chunk_rows as "chunkRows",
    r.share, r.paused, r.setting,
    ((extract(epoch from r.created_at) - 946684800) * 1000000)::bigint::text as "createdAt",
    t.state, t.reason, to_json(t.key_columns) as "keyColumns", to_json(t.cursor) as cursor,
    t.passes, t.rows_done::float8 as "rowsDone", t.bytes::float8 as bytes
  from pgstream.snapshot_requests r
  join pgstream.snapshot_tables t on t.request = r.id
  left join pg_class c on c.oid = t.oid::oid
  left join pg_namespace n on n.oid = c.relnamespace
  where r.state not in ('done', 'failed', 'cancelled') and t.state not in ('done', 'failed')
  order by r.id, t.schema_name, t.table_name`;

/** Writes the state of a table, and of its request with it. */
export async function noteState(
  transactions: Transactions,
  { request, oid }: Job,
  state: State,
  reason: string | null,
): Promise<void> {
  await transactions.run(async (client) => {
    await client.query(
      `update pgstream.snapshot_tables t
       set state = $3, reason = $4, started_at = coalesce(t.started_at, clock_timestamp()),
           finished_at = case when $3 in ('done', 'failed') then clock_timestamp() end
       where t.request = $1 and t.oid = $2`,
      [request, oid, state, reason],
    );
    await client.query(
      `update pgstream.snapshot_requests r
       set state = s.state, reason = s.reason,
           started_at = coalesce(r.started_at, clock_timestamp()),
           finished_at = case when s.state in ('done', 'failed') then clock_timestamp() end
       from (
         select case when bool_or(t.state not in ('done', 'failed')) then
                  case when $2 in ('done', 'failed') then 'running' else $2 end
                when bool_or(t.state = 'failed') then 'failed'
                else 'done' end as state,
                case when $2 in ('done', 'failed') then
                  min(format('%I.%I: %s', t.schema_name, t.table_name, t.reason))
                    filter (where t.state = 'failed')
                else $3 end as reason
         from pgstream.snapshot_tables t
         where t.request = $1
       ) s
       where r.id = $1 and r.state <> 'cancelled'`,
      [request, state, reason],
    );
  });
}

/** Writes how far a table has been delivered, up to what was handed out at `lsn`. */
export async function notePosition(
  transactions: Transactions,
  { request, oid }: Job,
  { key, cursor, rows, bytes }: Position,
  lsn: Lsn | undefined,
): Promise<void> {
  await transactions.run((client) =>
    client.query(
      `update pgstream.snapshot_tables t
       set key_columns = $3::text[], cursor = $4::text[], mark_lsn = $5::pg_lsn, rows_done = $6,
           bytes = $7
       where t.request = $1 and t.oid = $2`,
      [request, oid, key, cursor ?? null, lsn === undefined ? null : formatLsn(lsn), rows, bytes],
    ),
  );
}

/** Writes that a table is begun, and what is expected of it. */
export async function noteStart(
  transactions: Transactions,
  { request, oid }: Job,
  expectedRows: number | undefined,
  passes: number,
): Promise<void> {
  await transactions.run((client) =>
    client.query(
      `update pgstream.snapshot_tables t
       set rows_estimated = coalesce(t.rows_estimated, $3), passes = $4
       where t.request = $1 and t.oid = $2`,
      [request, oid, expectedRows ?? null, passes],
    ),
  );
}

/**
 * Takes deliveries out of the table whose chunk was not put on record before the end of an earlier
 * run: it is read again, so that each row comes once and in its place.
 */
export async function forgetUnrecorded(transactions: Transactions, system: bigint): Promise<void> {
  await transactions.run((client) =>
    client.query(
      `delete from pgstream.webhook_deliveries d
       using pgstream.snapshot_tables t
       where t.state not in ('done', 'failed') and starts_with(d.webhook_id, $1)
         and starts_with(d.webhook_id, format('%s%s_%s_', $1, t.request, t.oid))
         and d.commit_lsn > coalesce(t.mark_lsn, '0/0')`,
      [`${eventIdPrefix(system)}snapshot`],
    ),
  );
}

/** Makes the request of a setting for one schema, unless the same was made before. */
export async function requestOnce(sql: Sql, { schema, tables }: SnapshotTables): Promise<void> {
  const setting = tables.join(' ');
  await sql`
    insert into pgstream.snapshot_requests (setting, schema_name, table_names)
    select ${setting}, ${schema}, ${arrayLiteral(tables)}::text[]
    where not exists (
      select from pgstream.snapshot_requests r
      where r.setting = ${setting} and r.schema_name = ${schema})`;
}
