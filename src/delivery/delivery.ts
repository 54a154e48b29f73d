import type { Format } from '../event/format.js';
import type { Slice } from '../event/slice.js';
import { webhookId } from '../event/webhook-id.js';
import type { Lsn } from '../replication/lsn.js';
import type { Transaction } from '../replication/progress.js';
import { nobody, type Ordering, type Place } from './lanes.js';

/** Where an event stands among all others: its commit, and its count within the transaction. */
export interface LogPlace {
  readonly commitLsn: Lsn;
  readonly ordinal: number;
}

/** What an event is of, for people who look at the deliveries that wait. */
export interface EventSummary {
  /** '' for a business event, as the table. */
  readonly schema: string;
  readonly table: string;
  /** I, U, D or T, or the type of a business event. */
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

/** What is known of an event when it comes, from the log or from the table. */
export interface Arrived extends LogPlace {
  /** What the ids of all events of its transaction begin with, or its whole id. */
  readonly id: { readonly prefix: string } | string;
  readonly subscription: number;
  readonly event: EventSummary;
  readonly format: Format;
  /** The columns that the body shows; undefined for all that its table had. */
  readonly columns?: readonly string[] | undefined;
  readonly body: Slice | undefined;
  /** The length of the body. */
  readonly bytes: number;
  readonly transaction: Transaction | undefined;
  readonly stored: Delivery['stored'];
  readonly tables: readonly number[];
  readonly keys: readonly number[];
  readonly barrier: boolean;
  readonly attempts?: number;
  readonly activeMs?: number;
  readonly replayed?: boolean;
  readonly isLate?: boolean;
}

/** An event on its way to a subscription. */
export class Delivery implements Place, LogPlace {
  readonly subscription: number;
  readonly commitLsn: Lsn;
  readonly ordinal: number;
  readonly event: EventSummary;
  /** The shape of the body. */
  readonly format: Format;
  readonly columns: readonly string[] | undefined;
  readonly tables: readonly number[];
  readonly keys: readonly number[];
  readonly barrier: boolean;
  /** The length of the body. */
  readonly bytes: number;
  /** It was committed long before it came: the log has been held up, perhaps by crashes. */
  readonly isLate: boolean;
  /** It was dead once: newer versions of its row may have arrived. */
  readonly replayed: boolean;
  /** When it came into memory, in milliseconds of a clock that does not go back. */
  readonly since = performance.now();
  /** Undefined while it is only in the table. */
  body: Slice | undefined;
  /** What waits for this to be accepted or stored; undefined once it has been told. */
  transaction: Transaction | undefined;
  /** Whether it stands in `pgstream.webhook_deliveries`. */
  stored: 'no' | 'storing' | 'yes';
  attempts: number;
  /** For how many milliseconds it has been tried, the breaker being closed. */
  activeMs: number;
  ordering: Ordering = 'key';
  turn = 0;
  before: Place | undefined = undefined;
  behind: Place | undefined = undefined;
  waitsFor = 0;
  followers: readonly Place[] = nobody;
  /** Called once it is stored, beside what else is done then. */
  whenStored: (() => void) | undefined = undefined;
  /** Accepted or let go; what is still being stored is taken out again. */
  done = false;
  lastFailure: Failure | undefined = undefined;
  /** It is not to be sent: it goes to the table as a dead letter. */
  isDead = false;
  /** It has failed, or waits for one that has. */
  stuck = false;
  /** It is part of a batch that is under way or waits to be sent again. */
  batched = false;
  /** A request with it is under way. */
  inFlight = false;
  /** It is in the window, and its transaction waits for it; kept by Custody. */
  isHeld = false;
  /** It is in the window of its subscription; kept by Window. */
  isOpen = false;
  /** Bytes of memory that are reckoned for it. */
  reckoned = 0;
  readonly #idPrefix: string;
  #id: string | undefined;

  constructor(arrived: Arrived) {
    this.subscription = arrived.subscription;
    this.commitLsn = arrived.commitLsn;
    this.ordinal = arrived.ordinal;
    this.event = arrived.event;
    this.format = arrived.format;
    this.columns = arrived.columns;
    this.tables = arrived.tables;
    this.keys = arrived.keys;
    this.barrier = arrived.barrier;
    this.bytes = arrived.bytes;
    this.isLate = arrived.isLate ?? false;
    this.replayed = arrived.replayed ?? false;
    this.body = arrived.body;
    this.transaction = arrived.transaction;
    this.stored = arrived.stored;
    this.attempts = arrived.attempts ?? 0;
    this.activeMs = arrived.activeMs ?? 0;
    const { id } = arrived;
    this.#idPrefix = typeof id === 'string' ? '' : id.prefix;
    this.#id = typeof id === 'string' ? id : undefined;
  }

  /** The `webhook-id` of the event when it is sent alone. */
  get id(): string {
    return (this.#id ??= webhookId(this.#idPrefix, this.ordinal, this.subscription));
  }
}

/** Whether `a` stands before `b` in the log. */
export const isBefore = (a: LogPlace, b: LogPlace): boolean =>
  a.commitLsn < b.commitLsn || (a.commitLsn === b.commitLsn && a.ordinal < b.ordinal);
