import type { Program } from '../evaluation/program.js';
import type { Format } from '../event/format.js';

/** A subscription as `pgstream.subscription_changes.definition` holds it. */
export interface Subscription {
  readonly id: number;
  readonly url: string;
  /** A name, a pattern with * and ?, or '' for every schema. */
  readonly schema: string;
  readonly table: string;
  /** Any of I, U, D, T and types of business events; empty for the former. */
  readonly eventTypes: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  /** null: the runner's default. */
  readonly maxInFlight: number | null;
  readonly timeoutMs: number | null;
  readonly injectMetadata: boolean;
  /** Whether anything is sent; what is not is kept. */
  readonly enabled: boolean;
  readonly ordering: 'key' | 'strict' | 'none';
  /** Requests a second at most; null: any number. */
  readonly rate: number | null;
  /** Above 1: so many events at most in one request. */
  readonly batchSize: number;
  readonly batchWaitMs: number;
  /** How long a delivery is tried again. */
  readonly retryForMs: number;
  readonly onExhausted: 'dead_letter' | 'block';
  /** Bytes of bodies that may wait in the table, and what happens when there are more. */
  readonly spillQuota: number;
  readonly onQuota: 'hold' | 'disable' | 'drop_oldest';
  /** Secrets of Standard Webhooks, separated by spaces; null: requests are not signed. */
  readonly secret: string | null;
  /** A boolean SQL expression over new, old and op; null: every event. */
  readonly filter: string | null;
  /** A SQL expression that yields jsonb, sent instead of the body in `format`. */
  readonly payload: string | null;
  /** Both of them, as they were checked; null where there are none. */
  readonly program: Program | null;
  /** Why they do not fit the table any more; null while they do. */
  readonly invalidReason: string | null;
  readonly format: Format;
  /** The role that made it, and whose privileges decide what it is sent. */
  readonly owner: string;
}
