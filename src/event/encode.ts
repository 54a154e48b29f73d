/** The body of a webhook: one row change as JSON, its keys always in the same order. */
import { NULL, UNCHANGED, type Tuple } from '../replication/pgoutput.js';
import type { JsonWriter } from './json-writer.js';
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

const comma = 0x2c;
const openArray = 0x5b;
const closeArray = 0x5d;
const closeObject = 0x7d;
const opening = (action: Action) => Buffer.from(`{"Data":{"action":"${action}","timestamp":"`);
const openings = { I: opening('I'), U: opening('U'), D: opening('D'), T: opening('T') };
const lsnKey = Buffer.from('","lsn":"');
const identityKey = Buffer.from(',"identity":');
const unchangedKey = Buffer.from(',"unchanged":');

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
  if (change.new) writeColumns(writer, table, change.new, change.old);
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

/** The row: a value that the update left out as unchanged is taken from the old row if it is there. */
function writeColumns(
  writer: JsonWriter,
  table: EventTable,
  row: Tuple,
  old: Tuple | undefined,
): void {
  writer.byte(openArray);
  let first = true;
  for (let i = 0; i < table.columns.length; i++) {
    const source = row.spans[2 * i] === UNCHANGED && isKnown(old, i) ? old : row;
    if (source.spans[2 * i] === UNCHANGED) continue;
    if (!first) writer.byte(comma);
    first = false;
    writeColumn(writer, table, source, i);
  }
  writer.byte(closeArray);
}

/** The replica identity: all columns of it that are known. */
function writeIdentity(writer: JsonWriter, table: EventTable, row: Tuple): void {
  writer.byte(openArray);
  let first = true;
  for (let i = 0; i < table.columns.length; i++) {
    if (!table.columns[i]!.identity || row.spans[2 * i] === UNCHANGED) continue;
    if (!first) writer.byte(comma);
    first = false;
    writeColumn(writer, table, row, i);
  }
  writer.byte(closeArray);
}

function writeColumn(writer: JsonWriter, table: EventTable, row: Tuple, i: number): void {
  const column = table.columns[i]!;
  const start = row.spans[2 * i]!;
  writer.raw(column.opening);
  if (start === NULL) writer.null();
  else writer.value(column.kind, row.bytes, start, row.spans[2 * i + 1]!);
  writer.byte(closeObject);
}

/** Names the columns whose values are not known; nothing when there are none. */
function writeUnchanged(
  writer: JsonWriter,
  table: EventTable,
  row: Tuple,
  old: Tuple | undefined,
): void {
  if (!row.spans.includes(UNCHANGED)) return;
  const names = table.columns.filter((_, i) => row.spans[2 * i] === UNCHANGED && !isKnown(old, i));
  names.forEach((column, i) => {
    if (i === 0) {
      writer.raw(unchangedKey);
      writer.byte(openArray);
    } else {
      writer.byte(comma);
    }
    writer.raw(column.nameJson);
  });
  if (names.length > 0) writer.byte(closeArray);
}

const isKnown = (row: Tuple | undefined, column: number): row is Tuple =>
  row !== undefined && row.spans[2 * column]! >= 0;
