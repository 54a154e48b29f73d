/** What a tenure works with, and ends with. */
import type { Sql } from 'postgres';
import type { PgstreamError } from '../errors.js';
import type { Lease } from '../lease/lease.js';
import type { Log } from '../log.js';
import type { Lsn } from '../replication/lsn.js';
import type { Settings } from '../settings/schema.js';
import type { Source } from '../source/source.js';
import { whenFree as whenNobodyHolds } from '../source/reconcile.js';

export interface TenureOptions {
  readonly settings: Settings;
  readonly source: Source;
  readonly sql: Sql;
  /** The database that subscriptions are kept in, if that is another one. */
  readonly store: Sql | undefined;
  readonly log: Log;
  readonly lease: Lease;
  /** Where the slot is confirmed up to. */
  readonly position: Lsn;
  /** Ends the tenure: what is under way is finished and confirmed. */
  readonly signal: AbortSignal;
}

/** What the parts of a tenure are made with. */
export interface Around extends TenureOptions {
  /** Fires when nothing more is to begin. */
  readonly stop: AbortSignal;
  /** Fires when nothing more may be written. */
  readonly ended: AbortSignal;
  readonly explain: (error: unknown) => PgstreamError;
  /** Something has failed for good. */
  readonly fail: (error: unknown) => void;
  /** Repeats a question while Postgres is away. */
  readonly keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
}

/** Does the work when nobody holds the locks that it needs. */
export const whenFree = (
  { log, stop }: Around,
  what: string,
  work: () => Promise<void>,
): Promise<void> => whenNobodyHolds(work, { what, log, signal: stop });
