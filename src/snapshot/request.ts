/** Requests for snapshots as the command line makes and follows them. */
import type pg from 'pg';
import type { SnapshotTables } from '../settings/snapshot-tables.js';

export interface TableStatus {
  readonly request: number;
  readonly schema: string;
  readonly table: string;
  readonly state: string;
  readonly reason: string | null;
  readonly rows: number;
  readonly estimated: number | null;
  readonly percent: number | null;
}

export interface RequestOptions {
  readonly subscription: number | undefined;
  readonly share: number | undefined;
}

/** Makes one request a schema, all or none of them; returns their ids. */
export async function requestSnapshot(
  client: pg.Client,
  wanted: readonly SnapshotTables[],
  { subscription, share }: RequestOptions,
): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>(
    `insert into pgstream.snapshot_requests (schema_name, table_names, subscription, share)
     select w.schema, array(select jsonb_array_elements_text(w.tables)), $2, coalesce($3, 0.5)
     from jsonb_to_recordset($1::jsonb) w(schema text, tables jsonb)
     returning id::float8 as id`,
    [JSON.stringify(wanted), subscription ?? null, share ?? null],
  );
  return rows.map(({ id }) => id);
}

export async function snapshotStatus(
  client: pg.Client,
  requests: readonly number[],
): Promise<TableStatus[]> {
  const { rows } = await client.query<TableStatus>(
    `select s.request::float8 as request, s.schema_name as schema, s.table_name as table, s.state,
       s.reason, s.rows_done::float8 as rows, s.rows_estimated::float8 as estimated, s.percent
     from pgstream.snapshot_status s
     where s.request = any ($1)
     order by s.request, s.schema_name, s.table_name`,
    [requests],
  );
  return rows;
}

export const isOver = ({ state }: TableStatus): boolean =>
  ['done', 'failed', 'cancelled'].includes(state);
