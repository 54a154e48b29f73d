/**
 * The subscriptions of the source database, as they stood at a place in the log.
 *
 * Each change of a subscription is a row of `pgstream.subscription_changes`, which reaches the runner
 * in the stream, at its own commit. `commit_lsn` is written when the runner has passed that commit
 * and before it confirms it. So at a start from position P, the changes with `commit_lsn <= P` are
 * those that hold already, and all others are still to come in the stream. Only changes older than
 * the slot are neither: they have no `commit_lsn` and never come. They are told apart by looking
 * ahead in the slot.
 */
import { setTimeout } from 'node:timers/promises';
import type { Sql } from 'postgres';
import { decode, type Message } from '../replication/pgoutput.js';
import { formatLsn, type Lsn } from '../replication/lsn.js';
import { textOf } from '../replication/tuple.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { Transactions } from './transactions.js';

/** Reads the subscriptions that stand at `position`, where the slot is confirmed up to. */
export async function loadSubscriptions(
  sql: Sql,
  transactions: Transactions,
  slot: string,
  position: Lsn,
): Promise<Subscription[]> {
  await markOlderThanSlot(sql, transactions, slot, position);
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
    client.query(
      `update pgstream.webhook_subscriptions set enabled = false, disabled_reason = $2
       where id = $1 and enabled`,
      [id, reason],
    ),
  );
}

/** The stream has passed the commit of these changes, which ends at `commitEnd`. */
export async function markPassed(
  transactions: Transactions,
  changes: readonly string[],
  commitEnd: Lsn,
): Promise<void> {
  // A commit is in the log a moment before others see its rows.
  for (let tries = 0; tries < mostTries; tries++) {
    const { rowCount } = await transactions.run((client) =>
      client.query(
        `update pgstream.subscription_changes set commit_lsn = $2::pg_lsn
         where id = any($1::bigint[])`,
        [changes, formatLsn(commitEnd)],
      ),
    );
    if (rowCount === changes.length) return;
    await setTimeout(visibleMs);
  }
}

const mostTries = 50;
const visibleMs = 20;

async function markOlderThanSlot(
  sql: Sql,
  transactions: Transactions,
  slot: string,
  position: Lsn,
): Promise<void> {
  // Positions that this server has not reached yet come from another one, by a dump.
  await transactions.run((client) =>
    client.query(
      `update pgstream.subscription_changes set commit_lsn = null
       where commit_lsn > pg_current_wal_insert_lsn()`,
    ),
  );
  const unpassed = await sql<{ id: string }[]>`
    select id::text from pgstream.subscription_changes where commit_lsn is null`;
  if (unpassed.length === 0) return;
  await flushLog(sql);
  const messages = await sql<{ data: Buffer }[]>`
    select data from pg_logical_slot_peek_binary_changes(
      ${slot}, null, null, 'proto_version', '1', 'publication_names', 'pgstream_control')`;
  const ahead = changesIn(messages.map(({ data }) => decode(data)));
  const older = unpassed.map(({ id }) => id).filter((id) => !ahead.has(id));
  if (older.length > 0) await markPassed(transactions, older, position);
}

/** A row is visible before its commit is flushed, but decoding stops at what is flushed. */
async function flushLog(sql: Sql): Promise<void> {
  await sql`
    select set_config('synchronous_commit', 'local', true),
      pg_logical_emit_message(true, 'pgstream', '')`;
}

function changesIn(messages: readonly Message[]): Set<string> {
  const ids = new Set<string>();
  let changes: number | undefined;
  for (const message of messages) {
    if (message.tag === 'relation' && message.name === 'subscription_changes') {
      changes = message.oid;
    } else if (message.tag === 'insert' && message.relation === changes) {
      ids.add(textOf(message.new, 0) ?? '');
    }
  }
  return ids;
}
