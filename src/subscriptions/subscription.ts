/** A subscription as `pgstream.subscription_changes.definition` holds it. */
export interface Subscription {
  readonly id: number;
  readonly url: string;
  /** A name, a pattern with * and ?, or '' for every schema. */
  readonly schema: string;
  readonly table: string;
  /** Any of I, U, D, T; empty for all of them. */
  readonly eventTypes: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  /** null: the runner's default. */
  readonly maxInFlight: number | null;
  readonly timeoutMs: number | null;
  readonly injectMetadata: boolean;
}
