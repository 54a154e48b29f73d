/** The tables whose changes are noted, and the chunks whose mark the stream has not brought yet. */
import type { Commit } from '../event/commit.js';
import type { Action, Change } from '../event/encode.js';
import type { Lsn } from '../replication/lsn.js';
import type { Relation, Tuple } from '../replication/pgoutput.js';
import type { TableDescription } from '../source/catalog.js';
import { keyTexts, type Noting } from './seam.js';

export interface ChunkRow {
  readonly tuple: Tuple;
  /** What the id of its event has before the subscription. */
  readonly id: string;
}

/** Rows that were read, and wait for their place in the log. */
export interface Chunk {
  readonly relation: Relation;
  readonly description: TableDescription;
  readonly rows: readonly ChunkRow[];
  /** What has come meanwhile of rows of the table; undefined where that is never streamed. */
  readonly seam: Noting | undefined;
  /** Who is sent the rows; null for everybody. */
  readonly subscription: number | null;
  /** The time of the request. */
  readonly commit: Commit;
  readonly settle: (outcome: Outcome) => void;
}

export type Outcome =
  /** Too much has happened to the table for its rows to be told apart. */
  | { readonly kind: 'spoilt' }
  /** Nobody who is meant is sent inserts of the table, or may read it. */
  | { readonly kind: 'unwanted' }
  | { readonly kind: 'denied' }
  /** All that is sent of it has been accepted or stored; its place is the transaction at `lsn`. */
  | { readonly kind: 'done'; readonly lsn: Lsn };

export class Seams {
  readonly #seams = new Map<number, Set<Noting>>();
  readonly #chunks = new Map<string, Chunk>();

  /** From now on, changes of the table are noted. */
  watch(oid: number, seam: Noting): void {
    const seams = this.#seams.get(oid) ?? new Set();
    this.#seams.set(oid, seams.add(seam));
  }

  unwatch(oid: number, seam: Noting): void {
    const seams = this.#seams.get(oid);
    seams?.delete(seam);
    if (seams?.size === 0) this.#seams.delete(oid);
  }

  /** The stream has brought a change. */
  note(oid: number, xid: number, change: Change, keyColumns: readonly number[]): void {
    const seams = this.#seams.get(oid);
    if (!seams || keyColumns.length === 0) return;
    const keys = keyTexts(keyColumns, change);
    for (const seam of seams) seam.note(xid, change.action, keys);
  }

  /** The chunk is handed out where the stream brings this mark. */
  expect(mark: string, chunk: Chunk): void {
    this.#chunks.set(mark, chunk);
  }

  /** Whether the mark had not come: it means nothing any more. */
  withdraw(mark: string): boolean {
    return this.#chunks.delete(mark);
  }

  /** The stream has brought a mark; undefined for one of others, or of an earlier run. */
  take(mark: string): Chunk | undefined {
    const chunk = this.#chunks.get(mark);
    this.#chunks.delete(mark);
    return chunk;
  }
}

/** Whether any of these has told the subscription something newer of a row. */
export const isTold = (since: ReadonlySet<Action>, wants: (action: Action) => boolean): boolean =>
  since.size > 0 && [...since].some(wants);
