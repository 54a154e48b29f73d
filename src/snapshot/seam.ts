/**
 * Where the rows of a table that were there already meet its changes in the stream.
 *
 * A chunk of rows is read in one short transaction. It locks the table (so that nothing rewrites it
 * until the chunk is marked), takes a snapshot S and reads. Then, before it ends, a mark M is written
 * to the log; where the stream brings M, the chunk is handed out.
 *
 * Invariant: a row of a chunk is handed out at a place of the log at which its version is the newest
 * that the stream has brought. So nothing older arrives after something newer as a first arrival;
 * and every row that was there when the request began is delivered, or a newer version or its
 * deletion was, by the stream.
 *
 * Why it holds. Whatever S sees was committed before M, and the stream has brought it before M. What
 * the stream brings after M is newer than M, hence than S. There remain the transactions that the
 * stream brings before M although S does not see them. Their keys are noted here, and rows of the
 * chunk with these keys are left out: the stream has brought what became of them. (For those that
 * are not sent that kind of change, nothing newer has come, and nothing is left out.)
 * What was brought before noting began, and is not seen by others yet because its commit is in the
 * log but not finished, still holds its locks on the table. So the first chunk is read when the
 * transactions have ended that held such locks after noting had begun.
 *
 * After a crash nobody knows M any more. The chunk is read again, with a newer snapshot and a newer
 * mark, of which all this holds as of the first ones: the stream goes on from where it was confirmed,
 * and brings before the new mark all that has superseded the rows of the lost chunk.
 */
import type { Action } from '../event/encode.js';
import { UNCHANGED, type Tuple } from '../replication/pgoutput.js';
import { textOf } from '../replication/tuple.js';
import type { Visible } from './visible.js';

/** Beyond so many keys nothing more is noted: the seam is begun anew. */
const mostKeys = 100_000;

const none: ReadonlySet<Action> = new Set();

/** What has come of the rows of a table that is being read. */
export interface Noting {
  /** Whether more has happened than was noted: no chunk can be handed out any more. */
  readonly isSpoilt: boolean;
  /** The stream has brought a change of the rows with these keys: the old one, then the new one. */
  note(xid: number, action: Action, keys: readonly string[]): void;
  /** A chunk was read with this snapshot: what it sees need not be noted, now and later. */
  read(visible: Visible): void;
  /** What the stream has brought of the row that the last chunk did not see. */
  since(key: string): ReadonlySet<Action>;
}

export class Seam implements Noting {
  /** What transactions have done to which keys, by transaction. */
  readonly #noted = new Map<number, Map<string, Set<Action>>>();
  #count = 0;
  #visible: Visible | undefined;
  #isSpoilt = false;

  get isSpoilt(): boolean {
    return this.#isSpoilt;
  }

  note(xid: number, action: Action, keys: readonly string[]): void {
    if (this.#isSpoilt || this.#visible?.has(xid)) return;
    let noted = this.#noted.get(xid);
    if (!noted) this.#noted.set(xid, (noted = new Map()));
    for (const key of keys) {
      const actions = noted.get(key);
      if (actions) actions.add(action);
      else {
        noted.set(key, new Set([action]));
        this.#count++;
      }
    }
    if (this.#count + this.#noted.size <= mostKeys) return;
    this.#isSpoilt = true;
    this.#noted.clear();
  }

  read(visible: Visible): void {
    this.#visible = visible;
    for (const [xid, { size }] of this.#noted) {
      if (!visible.has(xid)) continue;
      this.#noted.delete(xid);
      this.#count -= size;
    }
  }

  since(key: string): ReadonlySet<Action> {
    let all = none;
    for (const noted of this.#noted.values()) {
      const actions = noted.get(key);
      if (actions) all = all === none ? actions : new Set([...all, ...actions]);
    }
    return all;
  }
}

/** The key of a row as text, exactly. No value of Postgres holds a zero byte. */
export const keyText = (columns: readonly number[], row: Tuple, old?: Tuple): string =>
  columns.map((i) => textOf(old && row.spans[2 * i] === UNCHANGED ? old : row, i)).join('\0');

/** The keys of the rows that a change is of: two where it changes the key. */
export function keyTexts(
  columns: readonly number[],
  { old, new: row }: { readonly old?: Tuple | undefined; readonly new?: Tuple | undefined },
): string[] {
  const keys: string[] = [];
  if (old) keys.push(keyText(columns, old));
  if (row) keys.push(keyText(columns, row, old));
  return keys[0] === keys[1] ? keys.slice(0, 1) : keys;
}
