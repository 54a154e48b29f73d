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
import { PgstreamError } from '../errors.js';
import type { Ask } from './connection.js';

/** Names one tenure of a lease. */
export interface Tenure {
  readonly slotName: string;
  readonly epoch: bigint;
  /** Tells it from one of the same epoch that a crash or a failover has undone. */
  readonly id: string;
}

/** For each transaction that writes: throws a PgstreamError `fenced`, which undoes it. */
export async function fence(ask: Ask, { slotName, epoch, id }: Tenure): Promise<void> {
  const rows = await ask(
    `select from pgstream.runner_lease
     where slot_name = $1 and epoch = $2::bigint and holder ->> 'id' = $3
     for key share`,
    [slotName, String(epoch), id],
  );
  if (rows.length === 0) throw fencedError(slotName);
}

export const fencedError = (slotName: string): PgstreamError =>
  new PgstreamError('fenced', `another runner has taken replication slot "${slotName}" over`, {
    hint: 'Nothing is lost: it goes on from what was confirmed. This one can stand by.',
  });
