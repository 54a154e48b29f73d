/** The values of a row as JSON: an array of what is known of each column, or an object by name. */
import { NULL, UNCHANGED, type Tuple } from '../replication/pgoutput.js';
import type { JsonWriter } from './json-writer.js';
import type { ValueKind } from './value.js';

export interface RowColumn {
  readonly kind: ValueKind;
  /** Part of the replica identity. */
  readonly identity: boolean;
  /** The column's name as a JSON string. */
  readonly nameJson: Buffer;
  /** What stands before the value: `{"id":"…","name":"…","type":"…","value":`, or `"…":`. */
  readonly opening: Buffer;
}

export interface RowTable {
  readonly columns: readonly RowColumn[];
  readonly isObject: boolean;
}

const comma = 0x2c;
const openArray = 0x5b;
const closeArray = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;
const unchangedKey = Buffer.from(',"unchanged":');

/** The row: a value that the update left out as unchanged is taken from the old row if it is there. */
export function writeRow(
  writer: JsonWriter,
  table: RowTable,
  row: Tuple,
  old: Tuple | undefined,
): void {
  writer.byte(table.isObject ? openObject : openArray);
  let first = true;
  for (let i = 0; i < table.columns.length; i++) {
    const source = row.spans[2 * i] === UNCHANGED && isKnown(old, i) ? old : row;
    if (source.spans[2 * i] === UNCHANGED) continue;
    if (!first) writer.byte(comma);
    first = false;
    writeColumn(writer, table, source, i);
  }
  writer.byte(table.isObject ? closeObject : closeArray);
}

/** The replica identity: all columns of it that are known. */
export function writeIdentity(writer: JsonWriter, table: RowTable, row: Tuple): void {
  writer.byte(table.isObject ? openObject : openArray);
  let first = true;
  for (let i = 0; i < table.columns.length; i++) {
    if (!table.columns[i]!.identity || row.spans[2 * i] === UNCHANGED) continue;
    if (!first) writer.byte(comma);
    first = false;
    writeColumn(writer, table, row, i);
  }
  writer.byte(table.isObject ? closeObject : closeArray);
}

function writeColumn(writer: JsonWriter, table: RowTable, row: Tuple, i: number): void {
  const column = table.columns[i]!;
  writer.raw(column.opening);
  writeValue(writer, column.kind, row, i);
  if (!table.isObject) writer.byte(closeObject);
}

/** A value that is known, or null. */
export function writeValue(writer: JsonWriter, kind: ValueKind, row: Tuple, i: number): void {
  const start = row.spans[2 * i]!;
  if (start === NULL) writer.null();
  else writer.value(kind, row.bytes, start, row.spans[2 * i + 1]!);
}

/** Names the columns whose values are not known; nothing when there are none. */
export function writeUnchanged(
  writer: JsonWriter,
  table: RowTable,
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
