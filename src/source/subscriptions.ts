/**
 * The subscriptions of the source database, as they stood at a place in the log.
 *
 * Each change of a subscription is a row of `pgstream.subscription_changes`, which reaches the runner
 * in the stream, at its own commit. `commit_lsn` is written when the runner has passed that commit
 * and before it confirms it. So at a start from position P, the changes with `commit_lsn <= P` are
 * those that hold already, and all others are still to come in the stream.
 */
import type { Sql } from 'postgres';
import { formatLsn, type Lsn } from '../replication/lsn.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { Transactions } from './transactions.js';

/** Reads the subscriptions that stand at `position`, where the slot is confirmed up to. */
export async function loadSubscriptions(
  sql: Sql,
  transactions: Transactions,
  position: Lsn,
): Promise<Subscription[]> {
  const at = formatLsn(position);
  const rows = await sql<{ definition: Subscription | null }[]>`
    select distinct on (subscription) definition
    from pgstream.subscription_changes
    where commit_lsn <= ${at}::pg_lsn
    order by subscription, id desc`;
  await transactions.run((client) =>
    client.query(
      `delete from pgstream.subscription_changes old
       using pgstream.subscription_changes new
       where old.subscription = new.subscription and old.id < new.id
         and new.commit_lsn <= $1::pg_lsn and old.commit_lsn <= $1::pg_lsn`,
      [at],
    ),
  );
  return rows.flatMap(({ definition }) => definition ?? []);
}

/** A definition that stands now, whatever the place in the log; null for a deleted subscription. */
export interface LatestSubscription {
  readonly id: number;
  readonly change: number;
  readonly definition: Subscription | null;
}

export async function latestSubscriptions(sql: Sql): Promise<LatestSubscription[]> {
  return sql<LatestSubscription[]>`
    select distinct on (subscription)
      subscription::float8 as id, subscription_changes.id::float8 as change, definition
    from pgstream.subscription_changes
    order by subscription, subscription_changes.id desc`;
}

/** Disables a subscription that is not disabled yet. */
export async function disableSubscription(
  transactions: Transactions,
  id: number,
  reason: string,
): Promise<void> {
  await transactions.run((client) =>
    client.query('select pgstream._disable_subscription(subscription => $1, reason => $2)', [
      id,
      reason,
    ]),
  );
}
