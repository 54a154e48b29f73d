/** Deliveries as rows of `pgstream.webhook_deliveries`, written by COPY and read without bodies. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { Format } from '../event/format.js';
import { sliceOf } from '../event/slice.js';
import { formatLsn, parseLsn } from '../replication/lsn.js';
import { arrayLiteral } from '../source/array-literal.js';
import { Delivery } from './delivery.js';

/** A row, its body perhaps left there. */
export interface StoredRow {
  webhook_id: string;
  commit_lsn: string;
  ordinal: number;
  schema_name: string;
  table_name: string;
  action: string;
  format: Format;
  committed_at: string;
  attempts: number;
  active_ms: number;
  replayed: boolean;
  columns: string[] | null;
  lane_tables: number[];
  lane_keys: number[];
  barrier: boolean;
  bytes: number;
  body: Buffer | null;
}

/** Writes all of them, or fails. */
export async function copyIn(client: pg.Client, deliveries: readonly Delivery[]): Promise<void> {
  const stream = client.query(
    copyFrom(
      `copy pgstream.webhook_deliveries
         (webhook_id, subscription, commit_lsn, ordinal, state, schema_name, table_name, action,
          committed_at, attempts, active_for, last_attempt_at, last_status, last_error, replayed,
          columns, lane_tables, lane_keys, barrier, format, body)
       from stdin`,
    ),
  );
  await pipeline(Readable.from(copyLines(deliveries)), stream);
}

/** About so many bytes are made at once, and then written while others have their turn. */
const chunkBytes = 64 * 1024;

function* copyLines(deliveries: readonly Delivery[]): Generator<Buffer, void> {
  let parts: Buffer[] = [];
  let bytes = 0;
  for (const delivery of deliveries) {
    parts.push(...copyLine(delivery));
    bytes += delivery.bytes;
    if (bytes < chunkBytes) continue;
    yield Buffer.concat(parts);
    parts = [];
    bytes = 0;
  }
  yield Buffer.concat(parts);
}

/** A line of COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html */
function copyLine(delivery: Delivery): Buffer[] {
  const { event, lastFailure } = delivery;
  const columns = [
    delivery.id,
    delivery.subscription,
    formatLsn(delivery.commitLsn),
    delivery.ordinal,
    delivery.isDead ? 'dead' : 'pending',
    escape(event.schema),
    escape(event.table),
    escape(event.action),
    event.committedAt,
    delivery.attempts,
    `${delivery.activeMs} ms`,
    lastFailure?.at.toISOString() ?? '\\N',
    lastFailure?.status ?? '\\N',
    lastFailure ? escape(lastFailure.reason) : '\\N',
    delivery.replayed ? 't' : 'f',
    delivery.columns ? escape(arrayLiteral(delivery.columns)) : '\\N',
    `{${delivery.tables.join(',')}}`,
    `{${delivery.keys.join(',')}}`,
    delivery.barrier ? 't' : 'f',
    delivery.format,
  ];
  return [Buffer.from(`${columns.join('\t')}\t`), escapeBody(delivery.body!.toBuffer()), newline];
}

const newline = Buffer.from('\n');
const escapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

const escape = (text: string): string => text.replace(/[\\\t\n\r]/g, (found) => escapes[found]!);

const backslash = 0x5c;

/** Compact JSON has no bare control characters, so backslashes are all there is to escape. */
function escapeBody(body: Buffer): Buffer {
  if (!body.includes(backslash)) return body;
  let count = 0;
  for (const byte of body) if (byte === backslash) count++;
  const escaped = Buffer.allocUnsafe(body.length + count);
  let length = 0;
  for (const byte of body) {
    escaped[length++] = byte;
    if (byte === backslash) escaped[length++] = backslash;
  }
  return escaped;
}

/** A delivery of the table. */
export const fromRow = (subscription: number, row: StoredRow): Delivery =>
  new Delivery({
    id: row.webhook_id,
    subscription,
    commitLsn: parseLsn(row.commit_lsn),
    ordinal: row.ordinal,
    event: {
      schema: row.schema_name,
      table: row.table_name,
      action: row.action,
      committedAt: row.committed_at,
    },
    format: row.format,
    columns: row.columns ?? undefined,
    body: row.body ? sliceOf(row.body) : undefined,
    bytes: row.bytes,
    transaction: undefined,
    stored: 'yes',
    attempts: row.attempts,
    activeMs: row.active_ms,
    replayed: row.replayed,
    tables: row.lane_tables,
    keys: row.lane_keys,
    barrier: row.barrier,
  });
