/**
 * The messages of pgoutput, protocol version 1, as bytes built by name.
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 */

/** A value as text, SQL null, or a TOASTed one that was not touched. */
export type Value = string | null | { readonly unchanged: true };

interface ColumnBytes {
  name: string;
  typeOid: number;
  typmod?: number;
  key?: boolean;
}

interface RelationBytes {
  oid: number;
  schema: string;
  name: string;
  replicaIdentity: string;
  columns: readonly ColumnBytes[];
}

/** A row, led by N(ew), K(ey) or O(ld). */
interface Row {
  readonly letter: 'N' | 'K' | 'O';
  readonly values: readonly Value[];
}

export const unchanged = { unchanged: true } as const;

const int8 = (value: number) => Buffer.from([value]);
const int16 = (value: number) => bytesOf(2, (bytes) => bytes.writeUInt16BE(value));
const int32 = (value: number) => bytesOf(4, (bytes) => bytes.writeInt32BE(value | 0));
const int64 = (value: bigint) => bytesOf(8, (bytes) => bytes.writeBigInt64BE(value));
const letter = (text: string) => Buffer.from(text, 'latin1');
const cString = (text: string) => Buffer.from(`${text}\0`);

function bytesOf(length: number, write: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(length);
  write(bytes);
  return bytes;
}

function valueBytes(value: Value): Buffer {
  if (value === null) return letter('n');
  if (typeof value !== 'string') return letter('u');
  const text = Buffer.from(value);
  return Buffer.concat([letter('t'), int32(text.length), text]);
}

const rowBytes = ({ letter: kind, values }: Row) =>
  Buffer.concat([letter(kind), int16(values.length), ...values.map(valueBytes)]);

export const newRow = (...values: Value[]): Row => ({ letter: 'N', values });
export const oldKey = (...values: Value[]): Row => ({ letter: 'K', values });
export const oldRow = (...values: Value[]): Row => ({ letter: 'O', values });

export const begin = (finalLsn: bigint, commitTime: bigint, xid: number) =>
  Buffer.concat([letter('B'), int64(finalLsn), int64(commitTime), int32(xid)]);

export const commit = (commitLsn: bigint, endLsn: bigint, commitTime: bigint) =>
  Buffer.concat([letter('C'), int8(0), int64(commitLsn), int64(endLsn), int64(commitTime)]);

export const relation = ({ oid, schema, name, replicaIdentity, columns }: RelationBytes) =>
  Buffer.concat([
    letter('R'),
    int32(oid),
    cString(schema),
    cString(name),
    letter(replicaIdentity),
    int16(columns.length),
    ...columns.flatMap((column) => [
      int8(column.key ? 1 : 0),
      cString(column.name),
      int32(column.typeOid),
      int32(column.typmod ?? -1),
    ]),
  ]);

export const type = (oid: number, schema: string, name: string) =>
  Buffer.concat([letter('Y'), int32(oid), cString(schema), cString(name)]);

export const insert = (oid: number, row: Row) =>
  Buffer.concat([letter('I'), int32(oid), rowBytes(row)]);

/** `old` is an `oldKey` or an `oldRow`, absent where the key is unchanged. */
export const update = (oid: number, row: Row, old?: Row) =>
  Buffer.concat([letter('U'), int32(oid), ...(old ? [rowBytes(old)] : []), rowBytes(row)]);

/** `del`, since `delete` is a word of the language; `old` is an `oldKey` or an `oldRow`. */
export const del = (oid: number, old: Row) =>
  Buffer.concat([letter('D'), int32(oid), rowBytes(old)]);

export const truncate = (options: number, ...oids: number[]) =>
  Buffer.concat([letter('T'), int32(oids.length), int8(options), ...oids.map(int32)]);

export const origin = (lsn: bigint, name: string) =>
  Buffer.concat([letter('O'), int64(lsn), cString(name)]);

export const message = (flags: number, lsn: bigint, prefix: string, content: Buffer) =>
  Buffer.concat([
    letter('M'),
    int8(flags),
    int64(lsn),
    cString(prefix),
    int32(content.length),
    content,
  ]);
