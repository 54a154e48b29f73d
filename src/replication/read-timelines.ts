/**
 * Asks a server for its timelines. A role that has REPLICATION and may connect is enough.
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */
import pg from 'pg';
import { walsenderOptions, type Connection } from '../settings/connection.js';
import { databaseError } from '../settings/database-error.js';
import { parseHistory, type Timelines } from './timelines.js';

/** Rejects with a PgstreamError. */
export async function readTimelines(connection: Connection): Promise<Timelines> {
  const client = new pg.Client(walsenderOptions(connection));
  client.on('error', () => undefined); // reported by the query that it breaks
  try {
    await client.connect();
    const identity = await client.query<{ systemid: string; timeline: number | string }>(
      'IDENTIFY_SYSTEM',
    );
    const { systemid, timeline } = identity.rows[0]!;
    const current = Number(timeline);
    return {
      system: BigInt(systemid),
      current,
      past: current === 1 ? [] : parseHistory(await readHistory(client, current)),
    };
  } catch (error) {
    throw databaseError(error, connection);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The first timeline has no file. The server sends the bytes of the file as they are. */
async function readHistory(client: pg.Client, timeline: number): Promise<string> {
  const { rows } = await client.query<{ content: Buffer | string }>(`TIMELINE_HISTORY ${timeline}`);
  return String(rows[0]!.content);
}
