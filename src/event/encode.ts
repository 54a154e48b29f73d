/** The body of a webhook: one row change as JSON, its keys always in the same order. */
import type { Tuple } from '../replication/pgoutput.js';
import type { JsonWriter } from './json-writer.js';
import { writeIdentity, writeRow, writeUnchanged } from './row-json.js';
import type { Slice } from './slice.js';
import type { EventTable } from './table.js';

export type Action = 'I' | 'U' | 'D' | 'T';

export interface Change {
  readonly action: Action;
  /** The row after the change; none for D and T. */
  readonly new?: Tuple | undefined;
  /** The row or the key before the change, as far as Postgres logs it. */
  readonly old?: Tuple | undefined;
}

const closeObject = 0x7d;
const opening = (action: Action) => Buffer.from(`{"Data":{"action":"${action}","timestamp":"`);
const openings = { I: opening('I'), U: opening('U'), D: opening('D'), T: opening('T') };
const lsnKey = Buffer.from('","lsn":"');
const identityKey = Buffer.from(',"identity":');

/**
 * Encodes a change. `timestamp` is the time of the commit and `lsn` the position of the change, both
 * as Postgres prints them.
 */
export function encodeEvent(
  writer: JsonWriter,
  table: EventTable,
  change: Change,
  timestamp: string,
  lsn: string,
): Slice {
  writer.raw(openings[change.action]);
  writer.ascii(timestamp);
  writer.raw(lsnKey);
  writer.ascii(lsn);
  writer.raw(table.naming);
  if (change.new) writeRow(writer, table, change.new, change.old);
  else writer.null();
  writer.raw(identityKey);
  if (change.action === 'D' && change.old) writeIdentity(writer, table, change.old);
  else if (change.action === 'U') writeIdentity(writer, table, change.old ?? change.new!);
  else writer.null();
  writer.raw(table.metadata);
  if (change.new) writeUnchanged(writer, table, change.new, change.old);
  writer.byte(closeObject);
  writer.byte(closeObject);
  return writer.take();
}
