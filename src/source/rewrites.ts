/** Rows that an ALTER TABLE has changed without an event for any of them. */
import type { Transactions } from './transactions.js';

export interface Rewrite {
  /** Of `pgstream.table_rewrites`. */
  readonly id: string;
  /** The table's; of a partition, its own. */
  readonly oid: string;
}

/** AT_REWRITE_DEFAULT_VAL and AT_REWRITE_COLUMN_REWRITE of src/include/commands/event_trigger.h. */
export const changesValues = (reason: number): boolean => (reason & (2 | 4)) !== 0;

/** Asks for the rows, for the subscriptions that want them again; once, also when called again. */
export const askForRewritten = (
  transactions: Transactions,
  rewrites: readonly Rewrite[],
): Promise<void> =>
  transactions.run(async (client) => {
    await client.query('select pgstream._resend_rewritten($1::bigint[], $2::oid[])', [
      rewrites.map(({ id }) => id),
      rewrites.map(({ oid }) => oid),
    ]);
  });
