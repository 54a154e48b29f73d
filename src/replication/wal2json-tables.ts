/** What there is to know of the tables that lines of wal2json name. */
import type { Relation } from './pgoutput.js';

/** What a line tells of its table. */
export interface LineTable {
  readonly schema: string;
  readonly name: string;
  /** The columns of the row, in the order of the table; undefined where there is no row. */
  readonly columns: readonly { readonly name: string; readonly typeOid: number }[] | undefined;
  /** Whether these are all: an update leaves out what it has not touched, if it is large. */
  readonly isWhole: boolean;
  /** The names of the columns of the old row; undefined where there is none. */
  readonly identity: readonly string[] | undefined;
}

/** What the name in a line stands for. */
export interface StreamedTable {
  /** As pgoutput describes it: of a partition, that of the partitioned table. */
  readonly relation: Relation;
  readonly isPartition: boolean;
  /** The columns of the table that is written, and where the relation has them. */
  readonly columns: readonly {
    readonly name: Buffer;
    readonly typeOid: number;
    readonly place: number;
    /** Part of its replica identity. */
    readonly identity: boolean;
  }[];
  /** Whether each update tells the whole old row. */
  readonly isFull: boolean;
}

export interface TableFinder {
  /** Changes whenever a table may be described otherwise. */
  readonly versionsEpoch: number;
  /** Changes whenever other tables may be wanted. */
  readonly wantedEpoch: number;
  /**
   * True where it is known, without asking anybody, that nobody wants changes of the table; `relation`
   * is what it was found to be part of.
   */
  isUnwanted(schema: string, name: string, relation?: Relation): boolean;
  /** Finds the table at the present place in the log; undefined where nobody wants its changes. */
  find(line: LineTable): Promise<StreamedTable | undefined>;
}
