/** The filter and payload of a subscription, as `pgstream._compile_program` has checked them. */
export interface Program {
  /** A boolean expression over old, new and pgstream_event; absent: every event. */
  readonly filter?: string;
  /** An expression of type jsonb; absent: the usual body. */
  readonly payload?: string;
  /** What they use; absent: nothing. Of a side that is used as a whole row, all that it has. */
  readonly columns?: readonly ProgramColumn[];
  /** The sides that are used as whole rows. */
  readonly rows?: readonly Side[];
  /** Types that are not those of Postgres itself. */
  readonly types?: readonly string[];
  /** The search_path in which they were understood. */
  readonly path: string;
  /** They call functions that are not those of Postgres itself. */
  readonly foreign: boolean;
}

export type Side = 'new' | 'old';

export interface ProgramColumn {
  readonly row: Side;
  readonly name: string;
  /** As `format_type` prints it. */
  readonly type: string;
  /** Where it is not that of the type. */
  readonly collation?: string;
}
