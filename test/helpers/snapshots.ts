import type postgres from 'postgres';
import { eventually } from './poll.js';
import { patience } from './items.js';
import type { Receiver } from './receiver.js';

export interface SnapshotRow {
  state: string;
  reason: string | null;
  rows: number;
}

/** Asks for a snapshot; returns the id of the request. */
export async function request(
  sql: postgres.Sql,
  tables: readonly string[],
  more: Record<string, string | number | boolean | null> = {},
): Promise<number> {
  const values = { table_names: tables as string[], share: 1, ...more };
  const [row] = await sql<{ id: number }[]>`
    insert into pgstream.snapshot_requests ${sql(values)} returning id::integer`;
  return row!.id;
}

/** The state of each table of a request. */
export const statusOf = (sql: postgres.Sql, id: number) => sql<SnapshotRow[]>`
  select state, reason, rows_done::integer as rows
  from pgstream.snapshot_status where request = ${id} order by schema_name, table_name`;

/** Waits until the request is in this state, and returns that of its tables. */
export const inState = (sql: postgres.Sql, id: number, state: string) =>
  eventually(async () => {
    const [row] = await sql<{ state: string; reason: string | null }[]>`
      select state, reason from pgstream.snapshot_requests where id = ${id}`;
    const tables = await statusOf(sql, id);
    if (row?.state !== state) throw new Error(JSON.stringify({ row, tables }));
    return tables;
  }, patience);

type Values = Record<string, unknown>;

export interface RowEvent {
  id: string;
  action: string;
  lsn: string;
  /** The row after the change; none for a delete. */
  row: Values | undefined;
  identity: Values | undefined;
}

const valuesOf = (columns: { name: string; value: unknown }[] | null) =>
  columns ? Object.fromEntries(columns.map(({ name, value }) => [name, value])) : undefined;

/** The events that were accepted, each once, in the order in which they first arrived. */
export function firstArrivals({ requests }: Receiver): RowEvent[] {
  const events = new Map<string, RowEvent>();
  for (const { headers, body, status = 500 } of requests) {
    const id = headers['webhook-id'] as string;
    if (status >= 300 || events.has(id)) continue;
    const { Data } = JSON.parse(body) as {
      Data: { action: string; lsn: string } & Record<
        'columns' | 'identity',
        { name: string; value: unknown }[] | null
      >;
    };
    const { action, lsn, columns, identity } = Data;
    events.set(id, { id, action, lsn, row: valuesOf(columns), identity: valuesOf(identity) });
  }
  return [...events.values()];
}

/** What somebody holds who keeps the rows by key, and the rows that are older than what came before. */
export function upsert(events: readonly RowEvent[], key: (values: Values) => string) {
  const rows = new Map<string, Values>();
  const newest = new Map<string, number>();
  const stale: RowEvent[] = [];
  for (const event of events) {
    const { row, identity } = event;
    if (identity) rows.delete(key(identity));
    if (!row) continue;
    const of = key(row);
    const version = Number(row['version']);
    if (version < (newest.get(of) ?? 0)) stale.push(event);
    newest.set(of, version);
    rows.set(of, row);
  }
  return { rows, stale };
}
