/**
 * Writes that only the holder of a lease can make.
 *
 * A runner that was stopped, swapped out or cut off may go on in the middle of a transaction when
 * another one has long taken over. So each transaction that writes reads the row of the lease, in
 * it, FOR KEY SHARE:
 *
 * - That conflicts with the FOR UPDATE of a taker. A transaction that got the lock first is ended
 *   or waited for before the lease passes on, so all that it wrote is there when the new holder
 *   first looks. One that comes second waits, and then finds the row without its epoch.
 * - It does not conflict with the heartbeat, an UPDATE that touches no key column, nor with the
 *   other transactions of the same runner.
 *
 * The transaction has to be READ COMMITTED: a REPEATABLE READ one would fail when the row has
 * changed since its snapshot, and a heartbeat changes it all the time.
 * https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS
 */
import type { PendingQuery, Row, Sql, TransactionSql } from 'postgres';
import { PgstreamError } from '../errors.js';

/** Names one tenure of a lease. */
export interface Tenure {
  readonly slotName: string;
  readonly epoch: bigint;
  /** Tells it from one of the same epoch that a crash or a failover has undone. */
  readonly id: string;
}

/** For each transaction that writes: throws a PgstreamError `fenced`, which undoes it. */
export async function fence(transaction: TransactionSql, tenure: Tenure): Promise<void> {
  const rows = await ofTenure(transaction, tenure);
  demand(tenure, rows.length > 0);
}

/**
 * The same for a single statement: a CTE that has a row while the lease is held.
 *
 *     with ${leaseCte(sql, tenure)}, written as (
 *       insert into t select … where exists (select from lease) returning 1
 *     )
 *     select exists (select from lease) as held, …
 *
 * `where exists` is evaluated before anything is written. Afterwards the caller passes `held` to
 * `demand`.
 */
export const leaseCte = (sql: Sql | TransactionSql, tenure: Tenure): PendingQuery<Row[]> =>
  sql`lease as materialized (${ofTenure(sql, tenure)})`;

/** Throws a PgstreamError `fenced` unless the lease was held. */
export function demand(tenure: Tenure, held: boolean): void {
  if (!held) throw fencedError(tenure.slotName);
}

export const fencedError = (slotName: string): PgstreamError =>
  new PgstreamError('fenced', `another runner has taken replication slot "${slotName}" over`, {
    hint: 'Nothing is lost: it goes on from what was confirmed. This one can stand by.',
  });

const ofTenure = (sql: Sql | TransactionSql, { slotName, epoch, id }: Tenure) => sql`
  select from pgstream.runner_lease
  where slot_name = ${slotName} and epoch = ${String(epoch)}::bigint and holder ->> 'id' = ${id}
  for key share`;
