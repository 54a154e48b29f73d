/**
 * Reads one table, chunk by chunk, and has each handed out at its mark in the log.
 *
 * Invariant: what is on record as delivered (`recordable`) is behind a place that the slot is
 * confirmed beyond. Deliveries that were stored at a later place are forgotten after a crash, since
 * the log is read again from there; so they must be read from the table again.
 */
import type { Sql } from 'postgres';
import { PgstreamError } from '../errors.js';
import { Commit } from '../event/commit.js';
import type { Lsn } from '../replication/lsn.js';
import type { Relation } from '../replication/pgoutput.js';
import { textOf } from '../replication/tuple.js';
import type { TableDescription } from '../source/catalog.js';
import { parseLine } from './copy-text.js';
import { rowDigest, snapshotIdPrefix } from './event-id.js';
import { describeHolders, writersOf, type Holder } from './holders.js';
import type { Job, Position } from './jobs.js';
import { markChunk } from './mark.js';
import type { Reader, Reading } from './reader.js';
import { RowSeam } from './row-seam.js';
import { Seam, type Noting } from './seam.js';
import type { ChunkRow, Seams } from './seams.js';
import { tellingOf } from './telling.js';
import { Visible } from './visible.js';

export interface RunOptions {
  readonly sql: Sql;
  readonly reader: Reader;
  readonly seams: Seams;
  readonly system: bigint;
  readonly describeTable: (
    relation: Relation,
    streamedType: (typeOid: number) => string | undefined,
  ) => Promise<TableDescription>;
  readonly onStart: (expectedRows: number | undefined, passes: number) => Promise<void>;
  /** Fires when nothing more is to begin. */
  readonly signal: AbortSignal;
}

/** What is read at a time: so many bytes and one row more at most. */
const mostBytes = 4 * 1024 * 1024;
/** How often a table without a key is begun. */
const mostPasses = 5;

interface Placed {
  readonly position: Position;
  readonly lsn: Lsn;
}

export class TableRun {
  readonly #options: RunOptions;
  #job: Job;
  #position: Position;
  /** Delivered up to here, and not on record. */
  #delivered: Placed[] = [];
  #seam: Noting | undefined;
  /** Rows go by all of their values. */
  #isByRows = false;
  #holders: readonly Holder[] = [];
  /** Rows to ask for: fewer where they are wide. */
  #limit = Infinity;
  /** Of a table without a key, which is read in one go. */
  #reading: Reading | undefined;
  /** How often that was begun in this run. */
  #passes = 0;
  #notedPasses = 0;
  #isBegun = false;
  #end: { readonly reason: string | null } | undefined;

  constructor(job: Job, options: RunOptions) {
    this.#job = job;
    this.#options = options;
    this.#position = {
      key: job.keyColumns ?? [],
      cursor: job.cursor ?? undefined,
      rows: job.cursor ? job.rowsDone : 0,
      bytes: job.cursor ? job.bytes : 0,
    };
  }

  set job(job: Job) {
    this.#job = job;
  }

  /** Whether all of it has been delivered, be it on record or not. */
  get isRead(): boolean {
    return this.#end !== undefined;
  }

  /** Why it has ended, once that can be put on record. */
  get end(): { readonly reason: string | null } | undefined {
    return this.#delivered.length === 0 ? this.#end : undefined;
  }

  /** What can be put on record when the slot is confirmed up to here. */
  recordable(confirmed: Lsn): Placed | undefined {
    const [first, last] = this.#delivered;
    if (!first || first.lsn >= confirmed) return undefined;
    return last && last.lsn < confirmed ? last : first;
  }

  recorded({ lsn }: Placed): void {
    this.#delivered = this.#delivered.filter((each) => each.lsn > lsn);
  }

  /** Notes what the stream brings; resolves to why that is not enough yet. */
  async begin(): Promise<string | undefined> {
    const { sql, seams } = this.#options;
    const { oid } = this.#job;
    if (this.#seam?.isSpoilt) this.rest();
    if (!this.#seam) {
      const seam = this.#isByRows ? new RowSeam() : new Seam();
      seams.watch(oid, seam);
      try {
        this.#holders = await writersOf(sql, oid);
        this.#seam = seam;
      } finally {
        if (!this.#seam) seams.unwatch(oid, seam);
      }
    } else if (this.#holders.length > 0) {
      const now = new Set((await writersOf(sql, oid)).map(({ id }) => id));
      this.#holders = this.#holders.filter(({ id }) => now.has(id));
    }
    return this.#holders.length > 0 ? describeHolders(this.#holders) : undefined;
  }

  /** Nothing is read for a while: what happens meanwhile need not be noted. */
  rest(): void {
    if (this.#reading) return;
    if (this.#seam) this.#options.seams.unwatch(this.#job.oid, this.#seam);
    this.#seam = undefined;
  }

  /** Reads the next rows, and resolves when they have been accepted or stored. */
  async advance(): Promise<void> {
    const { reader } = this.#options;
    const reading =
      this.#reading ??
      (await reader.open({
        oid: this.#job.oid,
        select: (key) => this.#partOf(key.map(({ signature }) => signature)),
        isEstimated: !this.#isBegun,
      }));
    this.#reading = undefined;
    try {
      await this.#advance(reading);
    } finally {
      if (this.#reading !== reading) await reading.close();
    }
  }

  /** Gives back what it holds. */
  async close(): Promise<void> {
    const reading = this.#reading;
    this.#reading = undefined;
    this.rest();
    await reading?.close();
  }

  #partOf(key: readonly string[]) {
    if (key.length === 0) {
      this.#position = { key, cursor: undefined, rows: 0, bytes: 0 };
      this.#passes++;
      return undefined;
    }
    const isSame = String(key) === String(this.#position.key);
    if (!isSame) this.#position = { key, cursor: undefined, rows: 0, bytes: 0 };
    this.#limit = Math.min(this.#limit, this.#job.chunkRows);
    return { after: this.#position.cursor, limit: this.#limit };
  }

  async #advance(reading: Reading): Promise<void> {
    const { describeTable } = this.#options;
    const { relation, streamedType, key, expectedRows } = reading;
    const description = await describeTable(relation, streamedType);
    const tells = tellingOf(relation, description, key);
    if (tells !== 'nothing' && this.#isByRows !== (tells === 'rows')) {
      this.#isByRows = tells === 'rows';
      return this.rest();
    }
    const seam = tells === 'nothing' ? undefined : this.#seam;
    await this.#noteStart(expectedRows);
    seam?.read(new Visible(reading.snapshot));

    const { rows, bytes, isEnd } = await this.#read(reading);
    if (rows.length === 0) {
      this.#end = { reason: null };
      return;
    }
    const { subscription, createdAt } = this.#job;
    const commit = new Commit(BigInt(createdAt), 0);
    // The reading, and its lock, go on until the place is marked.
    const outcome = await markChunk(
      { relation, description, rows, seam, subscription, commit },
      this.#options,
    );
    if (outcome.kind === 'spoilt') return this.#spoilt();
    // Whether somebody will want it is asked before the next chunk.
    if (outcome.kind === 'unwanted') return this.rest();
    if (outcome.kind === 'denied') {
      this.#end = { reason: 'nobody who subscribes to it may read it' };
      return;
    }
    this.#moveOn(reading, rows, bytes, outcome.lsn);
    if (isEnd) this.#end = { reason: null };
    else if (key.length === 0) this.#reading = reading;
  }

  /** The rows were handed out at `lsn`. */
  #moveOn({ key, relation }: Reading, rows: readonly ChunkRow[], bytes: number, lsn: Lsn): void {
    const last = rows.at(-1)!.tuple;
    const names = relation.columns.map(({ name }) => name);
    const values = key.map(({ name }) => textOf(last, names.indexOf(name))!);
    this.#position = {
      key: key.map(({ signature }) => signature),
      cursor: values.length > 0 ? values : undefined,
      rows: this.#position.rows + rows.length,
      bytes: this.#position.bytes + bytes,
    };
    // The one that is recorded next, and the newest.
    this.#delivered = [...this.#delivered.slice(0, 1), { position: this.#position, lsn }];
  }

  async #noteStart(expectedRows: number | undefined): Promise<void> {
    if (this.#isBegun && this.#passes === this.#notedPasses) return;
    this.#isBegun = true;
    this.#notedPasses = this.#passes;
    await this.#options.onStart(expectedRows, this.#job.passes + this.#passes);
  }

  /** Rows up to the budget; the connection is kept where nothing is left to be read on it. */
  async #read({ lines, relation, key }: Reading) {
    const { system } = this.#options;
    const prefix = snapshotIdPrefix(system, this.#job.request, relation.oid);
    const isKeyed = key.length > 0;
    const limit = isKeyed ? this.#limit : this.#job.chunkRows;
    const rows: ChunkRow[] = [];
    let bytes = 0;
    let isEnd = false;
    while (rows.length < limit && bytes < mostBytes) {
      const { value: line, done } = await lines.next();
      if (done) {
        isEnd = true;
        break;
      }
      bytes += line.length;
      const digest = rowDigest(relation, line);
      const id = `${prefix}${digest}${this.#passes > 1 ? `_${this.#passes}` : ''}`;
      rows.push({ tuple: parseLine(line), id });
    }
    if (isKeyed && rows.length === limit) await lines.next();
    if (!isEnd) {
      this.#limit = rows.length < limit ? rows.length : 2 * limit;
    }
    return { rows, bytes, isEnd };
  }

  #spoilt(): void {
    this.rest();
    if (this.#passes < mostPasses) return;
    throw new PgstreamError('busy_table', 'its rows are changed faster than it can be read', {
      hint: 'Without a key it is read in one go: give it a primary key, or ask at a quieter time.',
    });
  }
}
