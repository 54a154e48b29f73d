import type { Lsn } from '../replication/lsn.js';
import type { Transaction } from '../replication/progress.js';
import type { Place } from './lanes.js';

/** Where an event stands among all others: its commit, and its count within the transaction. */
export interface LogPlace {
  readonly commitLsn: Lsn;
  readonly ordinal: number;
}

/** What an event is of, for people who look at the deliveries that wait. */
export interface EventSummary {
  readonly schema: string;
  readonly table: string;
  readonly action: string;
  /** The time of the commit, as Postgres prints it. */
  readonly committedAt: string;
}

/** Why an attempt did not count. */
export interface Failure {
  /** The HTTP status of the answer; null where there was none. */
  readonly status: number | null;
  readonly reason: string;
  readonly at: Date;
}

/** An event on its way to a subscription. */
export interface Delivery extends Place, LogPlace {
  /** The `webhook-id` of the event when it is sent alone. */
  readonly id: string;
  readonly subscription: number;
  readonly event: EventSummary;
  /** Undefined while it is only in the table. */
  body: Buffer | undefined;
  /** The length of the body. */
  readonly bytes: number;
  /** What waits for this to be accepted or stored; undefined once it has been told. */
  transaction: Transaction | undefined;
  /** Whether it stands in `pgstream.webhook_deliveries`. */
  stored: 'no' | 'storing' | 'yes';
  /** Called once it is stored, beside what else is done then. */
  whenStored: (() => void) | undefined;
  /** Accepted or let go; what is still being stored is taken out again. */
  done: boolean;
  attempts: number;
  /** For how many milliseconds it has been tried, the breaker being closed. */
  activeMs: number;
  lastFailure: Failure | undefined;
  /** It has failed, or waits for one that has. */
  stuck: boolean;
  /** It is part of a batch that is under way or waits to be sent again. */
  batched: boolean;
  /** A request with it is under way. */
  inFlight: boolean;
  /** It was committed long before it came: the log has been held up, perhaps by crashes. */
  readonly isLate: boolean;
  /** When it came into memory, in milliseconds of a clock that does not go back. */
  readonly since: number;
  /** It was dead once: newer versions of its row may have arrived. */
  readonly replayed: boolean;
  /** Bytes of memory that are reckoned for it. */
  reckoned: number;
}

/** Whether `a` stands before `b` in the log. */
export const isBefore = (a: LogPlace, b: LogPlace): boolean =>
  a.commitLsn < b.commitLsn || (a.commitLsn === b.commitLsn && a.ordinal < b.ordinal);

/** What is known of an event when it comes, from the log or from the table. */
export type Arrived = Pick<
  Delivery,
  | 'id'
  | 'subscription'
  | 'commitLsn'
  | 'ordinal'
  | 'event'
  | 'body'
  | 'bytes'
  | 'transaction'
  | 'stored'
  | 'tables'
  | 'keys'
  | 'barrier'
> &
  Partial<Pick<Delivery, 'attempts' | 'activeMs' | 'replayed' | 'isLate'>>;

/** A delivery of which nothing has been done yet. */
export const createDelivery = (arrived: Arrived): Delivery => ({
  attempts: 0,
  activeMs: 0,
  replayed: false,
  isLate: false,
  ...arrived,
  ordering: 'key',
  waitsFor: 0,
  followers: [],
  whenStored: undefined,
  done: false,
  lastFailure: undefined,
  stuck: false,
  batched: false,
  inFlight: false,
  since: performance.now(),
  reckoned: 0,
});
