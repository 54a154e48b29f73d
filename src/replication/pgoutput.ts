/**
 * Decodes the messages of the output plugin pgoutput, protocol version 1, text format.
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 */
import { PgstreamError } from '../errors.js';
import type { Lsn } from './lsn.js';

export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
  /** Part of the replica identity; every column is with REPLICA IDENTITY FULL. */
  readonly identity: boolean;
  /** The name of its type as `format_type` prints it, where that is known and `typmod` is not. */
  readonly typeName?: string;
}

export interface Relation {
  readonly tag: 'relation';
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `pg_class.relreplident`: d(efault), n(othing), f(ull), i(ndex). */
  readonly replicaIdentity: string;
  readonly columns: readonly RelationColumn[];
}

/** In place of a start offset: the value is SQL null. */
export const NULL = -1;
/** In place of a start offset: a TOASTed value that the update did not touch, and that is not sent. */
export const UNCHANGED = -2;

/**
 * The values of one row as text. Column i lies in `bytes` from `spans[2 * i]` to `spans[2 * i + 1]`,
 * or `spans[2 * i]` is NULL or UNCHANGED. `bytes` is the message itself, not a copy.
 */
export interface Tuple {
  readonly bytes: Buffer;
  readonly spans: readonly number[];
}

export type Message =
  /** `finalLsn` is where the commit record begins; `commitTime` microseconds since 2000-01-01. */
  | {
      readonly tag: 'begin';
      readonly finalLsn: Lsn;
      readonly commitTime: bigint;
      readonly xid: number;
    }
  /** `endLsn` is the first byte after the commit record. */
  | { readonly tag: 'commit'; readonly commitLsn: Lsn; readonly endLsn: Lsn }
  | Relation
  | { readonly tag: 'type'; readonly oid: number; readonly schema: string; readonly name: string }
  | { readonly tag: 'insert'; readonly relation: number; readonly new: Tuple }
  /** `old` holds the whole row with REPLICA IDENTITY FULL, else the old key, when that changed. */
  | {
      readonly tag: 'update';
      readonly relation: number;
      readonly old: Tuple | undefined;
      readonly new: Tuple;
    }
  | { readonly tag: 'delete'; readonly relation: number; readonly old: Tuple }
  | { readonly tag: 'truncate'; readonly relations: readonly number[] }
  | { readonly tag: 'origin' }
  | { readonly tag: 'message' };

const letter = (text: string) => text.charCodeAt(0);
const kind = {
  begin: letter('B'),
  commit: letter('C'),
  relation: letter('R'),
  type: letter('Y'),
  insert: letter('I'),
  update: letter('U'),
  delete: letter('D'),
  truncate: letter('T'),
  origin: letter('O'),
  message: letter('M'),
  newTuple: letter('N'),
  keyTuple: letter('K'),
  oldTuple: letter('O'),
  null: letter('n'),
  unchanged: letter('u'),
  text: letter('t'),
} as const;

/** Rows that are used again for each message, so that none has to be made. */
export interface Scratch {
  readonly new: Row;
  readonly old: Row;
}

interface Row extends Tuple {
  bytes: Buffer;
  readonly spans: number[];
}

export const createScratch = (): Scratch => ({
  new: { bytes: none, spans: [] },
  old: { bytes: none, spans: [] },
});

const none = Buffer.alloc(0);

/**
 * Decodes the message from `start` to `end`. With a scratch, the rows are those of the scratch, and hold
 * until the next message is decoded with it. Throws `undecodable_message` on bytes that the protocol
 * does not allow.
 */
export function decode(
  bytes: Buffer,
  start = 0,
  end = bytes.length,
  scratch = createScratch(),
): Message {
  try {
    return decodeMessage(bytes, start, end, scratch);
  } catch (cause) {
    if (cause instanceof PgstreamError) throw cause;
    throw undecodable('a message is cut short', cause);
  }
}

function decodeMessage(bytes: Buffer, start: number, end: number, scratch: Scratch): Message {
  switch (bytes[start]) {
    case kind.insert: {
      expect(bytes, start + 5, kind.newTuple);
      readTuple(bytes, start + 6, end, scratch.new);
      return { tag: 'insert', relation: bytes.readUInt32BE(start + 1), new: scratch.new };
    }
    case kind.update:
      return decodeUpdate(bytes, start, end, scratch);
    case kind.delete: {
      if (bytes[start + 5] !== kind.keyTuple) expect(bytes, start + 5, kind.oldTuple);
      readTuple(bytes, start + 6, end, scratch.old);
      return { tag: 'delete', relation: bytes.readUInt32BE(start + 1), old: scratch.old };
    }
    case kind.begin:
      if (end - start < 21) throw cutShort();
      return {
        tag: 'begin',
        finalLsn: bytes.readBigUInt64BE(start + 1),
        commitTime: bytes.readBigInt64BE(start + 9),
        xid: bytes.readUInt32BE(start + 17),
      };
    case kind.commit:
      if (end - start < 26) throw cutShort();
      return {
        tag: 'commit',
        commitLsn: bytes.readBigUInt64BE(start + 2),
        endLsn: bytes.readBigUInt64BE(start + 10),
      };
    case kind.relation:
      return decodeRelation(bytes.subarray(start, end));
    case kind.type: {
      const message = bytes.subarray(start, end);
      const schema = cString(message, 5);
      const name = cString(message, schema.end);
      return {
        tag: 'type',
        oid: message.readUInt32BE(1),
        schema: schema.text || 'pg_catalog',
        name: name.text,
      };
    }
    case kind.truncate: {
      const count = bytes.readUInt32BE(start + 1);
      if (end - start < 6 + 4 * count) throw cutShort();
      return {
        tag: 'truncate',
        relations: Array.from({ length: count }, (_, i) => bytes.readUInt32BE(start + 6 + 4 * i)),
      };
    }
    case kind.origin:
      return { tag: 'origin' };
    case kind.message:
      return { tag: 'message' };
    default:
      throw undecodable(`a message of unknown kind ${bytes[start]}`);
  }
}

function decodeUpdate(bytes: Buffer, start: number, end: number, scratch: Scratch): Message {
  const relation = bytes.readUInt32BE(start + 1);
  if (bytes[start + 5] === kind.newTuple) {
    readTuple(bytes, start + 6, end, scratch.new);
    return { tag: 'update', relation, old: undefined, new: scratch.new };
  }
  if (bytes[start + 5] !== kind.keyTuple) expect(bytes, start + 5, kind.oldTuple);
  const oldEnd = readTuple(bytes, start + 6, end, scratch.old);
  expect(bytes, oldEnd, kind.newTuple);
  readTuple(bytes, oldEnd + 1, end, scratch.new);
  return { tag: 'update', relation, old: scratch.old, new: scratch.new };
}

function decodeRelation(bytes: Buffer): Relation {
  const schema = cString(bytes, 5);
  const name = cString(bytes, schema.end);
  const replicaIdentity = String.fromCharCode(bytes.readUInt8(name.end));
  const count = bytes.readUInt16BE(name.end + 1);
  const columns: RelationColumn[] = [];
  for (let at = name.end + 3, i = 0; i < count; i++) {
    const column = cString(bytes, at + 1);
    columns.push({
      name: column.text,
      typeOid: bytes.readUInt32BE(column.end),
      typmod: bytes.readInt32BE(column.end + 4),
      identity: (bytes.readUInt8(at) & 1) === 1,
    });
    at = column.end + 8;
  }
  return {
    tag: 'relation',
    oid: bytes.readUInt32BE(1),
    schema: schema.text || 'pg_catalog',
    name: name.text,
    replicaIdentity,
    columns,
  };
}

/** Reads a row of a message that ends at `end`; returns where the row ends. */
function readTuple(bytes: Buffer, start: number, end: number, into: Row): number {
  const count = bytes.readUInt16BE(start);
  const { spans } = into;
  into.bytes = bytes;
  spans.length = 2 * count;
  let at = start + 2;
  for (let i = 0; i < 2 * count; i += 2) {
    switch (bytes[at]) {
      case kind.text: {
        const from = at + 5;
        at = from + bytes.readUInt32BE(at + 1);
        spans[i] = from;
        spans[i + 1] = at;
        break;
      }
      case kind.null:
        spans[i] = spans[i + 1] = NULL;
        at += 1;
        break;
      case kind.unchanged:
        spans[i] = spans[i + 1] = UNCHANGED;
        at += 1;
        break;
      default:
        throw at < end ? undecodable(`a value of unknown kind ${bytes[at]}`) : cutShort();
    }
    if (at > end) throw cutShort();
  }
  if (at > end) throw cutShort();
  return at;
}

function cString(bytes: Buffer, start: number): { text: string; end: number } {
  const zero = bytes.indexOf(0, start);
  if (zero < 0) throw undecodable('a name is cut short');
  return { text: bytes.toString('utf8', start, zero), end: zero + 1 };
}

function expect(bytes: Buffer, at: number, wanted: number): void {
  if (bytes[at] !== wanted) throw undecodable(`byte ${at} is ${bytes[at]}, not ${wanted}`);
}

const cutShort = () => undecodable('a message is cut short');

const undecodable = (what: string, cause?: unknown) =>
  new PgstreamError('undecodable_message', `cannot decode the replication stream: ${what}`, {
    hint: 'The slot must use the output plugin pgoutput, on PostgreSQL 14 to 18.',
    cause,
  });
