/**
 * Makes of the lines of wal2json the messages that pgoutput would have sent for the same changes, so
 * that all that follows is the same for both.
 *
 * wal2json names a table and its columns with each change and describes no table; a partition goes by
 * its own name. So the table is looked up (see TableFinder), and described by a `relation` message
 * before its first change and whenever something about it is new.
 *
 * Invariant: of a transaction, the same changes are handed over each time that it is read, whatever
 * the list of tables that the server was given, so that their count names them. For that, only
 * changes of wanted tables count; and what a name stood for at each place of the transaction is
 * remembered until its commit, since the schema versions are ahead of what is read again.
 */
import { dataHeaderBytes, positionOf } from './copy-data.js';
import { parseLsn, type Lsn } from './lsn.js';
import { NULL, UNCHANGED, type Message, type Relation, type Tuple } from './pgoutput.js';
import type { Decoder, Take } from './plugin.js';
import { parseTimestamp } from './timestamp.js';
import { cellSize, Line, undecodable, type Cells } from './wal2json-line.js';
import type { LineTable, StreamedTable, TableFinder } from './wal2json-tables.js';

interface Known {
  readonly table: StreamedTable | undefined;
  readonly versionsEpoch: number;
  readonly wantedEpoch: number;
}

interface Row extends Tuple {
  bytes: Buffer;
  readonly spans: number[];
}

const emptyRow = (): Row => ({ bytes: Buffer.alloc(0), spans: [] });

export class Wal2jsonDecoder implements Decoder {
  readonly #finder: TableFinder;
  readonly #line = new Line();
  readonly #new = emptyRow();
  readonly #old = emptyRow();
  readonly #known = new Map<string, Known>();
  /** What the reader was told last of each table, and when. */
  readonly #told = new Map<number, { relation: Relation; versionsEpoch: number }>();
  /** The commit of the open transaction. */
  #open: Lsn | undefined;
  /** Of that transaction: what each name stands for, from a position on. */
  readonly #places = new Map<string, { from: Lsn; table: StreamedTable | undefined }[]>();
  /** Of that transaction, the last change that was read; up to `#until` it was read before. */
  #last: Lsn = 0n;
  #until: Lsn | undefined;

  constructor(finder: TableFinder) {
    this.#finder = finder;
  }

  decode(bytes: Buffer, start: number, end: number, take: Take): Promise<void> | undefined {
    const line = this.#line;
    line.open(bytes, start + dataHeaderBytes, end);
    switch (line.action) {
      case 'B':
        return take(this.#begin());
      case 'C':
        this.#open = this.#until = undefined;
        this.#places.clear();
        return take({
          tag: 'commit',
          commitLsn: parseLsn(line.lsn),
          endLsn: parseLsn(line.nextLsn),
        });
      case 'I':
      case 'U':
      case 'D':
      case 'T':
        return this.#change(positionOf(bytes, start), take);
      case 'M':
        return undefined;
      default:
        throw undecodable(`a line of unknown action ${String(line.action)}`);
    }
  }

  interrupted(): void {
    if (this.#open !== undefined && this.#last > (this.#until ?? 0n)) this.#until = this.#last;
    this.#told.clear();
  }

  #begin(): Message {
    const { lsn, timestamp, xid } = this.#line;
    const finalLsn = parseLsn(lsn);
    if (this.#open !== finalLsn) {
      this.#places.clear();
      this.#until = undefined;
      this.#last = 0n;
    }
    this.#open = finalLsn;
    return { tag: 'begin', finalLsn, commitTime: parseTimestamp(timestamp), xid };
  }

  #change(lsn: Lsn, take: Take): Promise<void> | undefined {
    const line = this.#line;
    // Of our own tables, only what is inserted is a message to us.
    if (line.schema === 'pgstream' && line.action !== 'I') return undefined;
    const key = `${line.schema}\0${line.table}`;
    this.#last = lsn;
    const found = this.#placeOf(key, lsn);
    if (found && !found.table) return undefined;
    line.finish();
    if (found?.table && this.#fill(found.table)) return this.#hand(found.table, take);
    return this.#find(key, lsn).then((table) => table && this.#hand(table, take));
  }

  /** What the name stands for there, as far as it is known. */
  #placeOf(key: string, lsn: Lsn): { readonly table: StreamedTable | undefined } | undefined {
    const places = this.#places.get(key);
    if (this.#until !== undefined && lsn <= this.#until) {
      const place = places?.findLast(({ from }) => from <= lsn);
      // What nobody looked up was not wanted.
      return place ?? (lsn < this.#until ? { table: undefined } : undefined);
    }
    const { versionsEpoch, wantedEpoch } = this.#finder;
    let known = this.#known.get(key);
    if (known?.versionsEpoch !== versionsEpoch || known.wantedEpoch !== wantedEpoch) {
      const { schema, table } = this.#line;
      const isFound = known?.table && known.versionsEpoch === versionsEpoch;
      const relation = isFound ? known!.table!.relation : undefined;
      if (this.#finder.isUnwanted(schema, table, relation)) {
        known = { table: undefined, versionsEpoch, wantedEpoch };
      } else if (isFound) {
        known = { ...known!, wantedEpoch };
      } else {
        return undefined;
      }
      this.#known.set(key, known);
    }
    if (!places || places.at(-1)!.table !== known.table) this.#note(key, lsn, known.table);
    return known;
  }

  #note(key: string, from: Lsn, table: StreamedTable | undefined): void {
    const places = this.#places.get(key);
    if (places) places.push({ from, table });
    else this.#places.set(key, [{ from, table }]);
  }

  async #find(key: string, lsn: Lsn): Promise<StreamedTable | undefined> {
    const { versionsEpoch, wantedEpoch } = this.#finder;
    const table = await this.#finder.find(this.#lineTable());
    this.#known.set(key, { table, versionsEpoch, wantedEpoch });
    this.#note(key, lsn, table);
    if (table && !this.#fill(table)) {
      const { schema, table: name } = this.#line;
      throw undecodable(`a change of ${schema}.${name} does not look like the table`);
    }
    return table;
  }

  #lineTable(): LineTable {
    const { schema, table: name, action, columns, identity } = this.#line;
    const list = (cells: Cells) =>
      Array.from({ length: cells.numbers.length / cellSize }, (_, i) => {
        const [nameStart, nameEnd, typeOid] = cells.numbers.slice(cellSize * i);
        return { name: this.#line.text(nameStart!, nameEnd!), typeOid: typeOid! };
      });
    return {
      schema,
      name,
      columns: columns && list(columns),
      isWhole: action === 'I',
      identity: identity && list(identity).map((column) => column.name),
    };
  }

  /** Fills the rows with the line's values; false where the line does not fit the table. */
  #fill(table: StreamedTable): boolean {
    const { action, columns, identity } = this.#line;
    if (columns && !this.#fillRow(table, columns, this.#new, UNCHANGED)) return false;
    if (action === 'I') return columns?.numbers.length === table.columns.length * cellSize;
    if (!identity) return true;
    if (!this.#fillRow(table, identity, this.#old, NULL)) return false;
    return this.#isIdentityOf(table, identity);
  }

  #fillRow(table: StreamedTable, { numbers }: Cells, row: Row, absent: number): boolean {
    const { bytes } = this.#line;
    row.bytes = bytes;
    row.spans.length = 2 * table.relation.columns.length;
    row.spans.fill(absent);
    let next = 0;
    for (let i = 0; i < numbers.length; i += cellSize) {
      const [start, end] = [numbers[i]!, numbers[i + 1]!];
      for (; ; next++) {
        const column = table.columns[next];
        if (!column) return false;
        if (isAt(bytes, start, end, column.name)) break;
      }
      const { place, typeOid } = table.columns[next++]!;
      if (typeOid !== numbers[i + 2]) return false;
      row.spans[2 * place] = numbers[i + 3]!;
      row.spans[2 * place + 1] = numbers[i + 4]!;
    }
    return true;
  }

  /** Whether the old row has the columns of the table's identity, and no others. */
  #isIdentityOf({ columns }: StreamedTable, { numbers }: Cells): boolean {
    const isUpdate = this.#line.action === 'U';
    let expected = 0;
    for (const { identity, place } of columns) {
      const isSent = this.#old.spans[2 * place] !== NULL;
      if (!identity && isSent) return false;
      // What an update has not touched is left out here, too.
      if (identity && (isSent || !isUpdate || this.#new.spans[2 * place] !== UNCHANGED)) expected++;
    }
    return expected * cellSize === numbers.length;
  }

  #hand(table: StreamedTable, take: Take): Promise<void> | undefined {
    const change = this.#message(table);
    if (!change) return undefined;
    const { relation } = table;
    const told = this.#told.get(relation.oid);
    if (told?.relation === relation) return take(change);
    const { versionsEpoch } = this.#finder;
    this.#told.set(relation.oid, { relation, versionsEpoch });
    if (told?.versionsEpoch === versionsEpoch && isSame(told.relation, relation)) {
      return take(change);
    }
    return Promise.resolve(take(relation)).then(() => take(change));
  }

  #message(table: StreamedTable): Message | undefined {
    const relation = table.relation.oid;
    switch (this.#line.action) {
      case 'I':
        return { tag: 'insert', relation, new: this.#new };
      case 'U': {
        const isTold = table.isFull || this.#isKeyLogged();
        return { tag: 'update', relation, new: this.#new, old: isTold ? this.#old : undefined };
      }
      case 'D':
        return { tag: 'delete', relation, old: this.#old };
      default:
        return table.isPartition ? undefined : { tag: 'truncate', relations: [relation] };
    }
  }

  /** wal2json always tells a key, if need be the new one; Postgres logs it where it has changed. */
  #isKeyLogged(): boolean {
    const { bytes, spans } = this.#new;
    for (let i = 0; i < spans.length; i += 2) {
      const [start, end] = [this.#old.spans[i]!, this.#old.spans[i + 1]!];
      if (start === NULL) continue;
      // A large key that an update leaves as it is is logged as well.
      if (spans[i]! < 0) return true;
      if (bytes.compare(bytes, start, end, spans[i], spans[i + 1]) !== 0) return true;
    }
    return false;
  }
}

const isAt = (bytes: Buffer, start: number, end: number, name: Buffer): boolean => {
  if (end - start !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name[i]) return false;
  return true;
};

const isSame = (one: Relation, other: Relation) => JSON.stringify(one) === JSON.stringify(other);
