/**
 * The seam of a table without a key whose old rows are logged in full: rows go by all of their values.
 *
 * Rows that are alike are told apart by nothing, so they are counted. Of those that the snapshot sees,
 * as many are left out as changes that it does not see have taken away, beyond what such changes have
 * added themselves. Which of several alike was meant cannot matter; but where one of them had been
 * handed out already, another one may be left out in its place.
 */
import type { Action } from '../event/encode.js';
import type { Noting } from './seam.js';
import type { Visible } from './visible.js';

/** Beyond so many bytes of rows nothing more is noted: the table is begun anew. */
const mostBytes = 16 * 1024 * 1024;

const gone: ReadonlySet<Action> = new Set(['U', 'D']);
const none: ReadonlySet<Action> = new Set();

export class RowSeam implements Noting {
  readonly #gone = new Map<string, number>();
  readonly #born = new Map<string, number>();
  /** Of what was noted before the snapshot was known: by then all of it may be seen. */
  #early: { readonly xid: number; readonly action: Action; readonly rows: readonly string[] }[] =
    [];
  #visible: Visible | undefined;
  #bytes = 0;

  get isSpoilt(): boolean {
    return this.#bytes > mostBytes;
  }

  note(xid: number, action: Action, rows: readonly string[]): void {
    if (this.isSpoilt || this.#visible?.has(xid)) return;
    if (!this.#visible) this.#early.push({ xid, action, rows });
    else this.#count(action, rows);
    for (const row of rows) this.#bytes += row.length;
  }

  /** The table is read with this snapshot, all of it. */
  read(visible: Visible): void {
    if (this.#visible) return;
    this.#visible = visible;
    for (const { xid, action, rows } of this.#early) {
      if (!visible.has(xid)) this.#count(action, rows);
    }
    this.#early = [];
  }

  /** What has become of one such row; to be asked once for each. */
  since(row: string): ReadonlySet<Action> {
    return take(this.#gone, row) ? gone : none;
  }

  #count(action: Action, rows: readonly string[]): void {
    const [old, row] = action === 'I' ? [undefined, rows[0]] : rows;
    // An update of nothing.
    if (action === 'U' && row === undefined) return;
    if (old !== undefined && !take(this.#born, old)) add(this.#gone, old);
    if (row !== undefined) add(this.#born, row);
  }
}

function add(counts: Map<string, number>, row: string): void {
  counts.set(row, (counts.get(row) ?? 0) + 1);
}

function take(counts: Map<string, number>, row: string): boolean {
  const count = counts.get(row) ?? 0;
  if (count > 1) counts.set(row, count - 1);
  else counts.delete(row);
  return count > 0;
}
