/** What is done to `pgstream.webhook_deliveries`, each within a transaction of the runner. */
import type pg from 'pg';
import { formatLsn, type Lsn } from '../replication/lsn.js';
import type { Delivery } from './delivery.js';

/** A row that was lost at the quota. */
export interface Dropped {
  readonly id: string;
  readonly bytes: number;
}

/** Given up, or not to be read by the owner of the subscription any more. */
export type Aside = 'dead' | 'denied';

/**
 * Makes the table fit to be read from. What the log brings again from `position` on is forgotten, so
 * that it comes once and in its place; what came from another server, whose ids begin otherwise,
 * stands before everything; what belongs to no subscription goes.
 */
export async function prepare(client: pg.Client, position: Lsn, idPrefix: string): Promise<void> {
  await client.query(
    `update pgstream.webhook_deliveries d
     set commit_lsn = '0/0', ordinal = o.ordinal
     from (
       select webhook_id,
              row_number() over (partition by subscription order by commit_lsn, ordinal)
                + coalesce((
                    select max(earlier.ordinal) from pgstream.webhook_deliveries earlier
                    where earlier.subscription = f.subscription
                      and earlier.commit_lsn = '0/0'), 0) as ordinal
       from pgstream.webhook_deliveries f
       where not starts_with(webhook_id, $1) and commit_lsn > '0/0'
     ) o
     where d.webhook_id = o.webhook_id`,
    [idPrefix],
  );
  await client.query('delete from pgstream.webhook_deliveries where commit_lsn >= $1::pg_lsn', [
    formatLsn(position),
  ]);
  for (const table of ['webhook_deliveries', 'subscription_state']) {
    await client.query(
      `delete from pgstream.${table} d
       where not exists (
         select from pgstream.webhook_subscriptions s where s.id = d.subscription)`,
    );
  }
}

/** Deletes what nobody has locked; returns the ids of the others. */
export async function takeOut(
  client: pg.Client,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const { rowCount } = await client.query(
    `delete from pgstream.webhook_deliveries
     where webhook_id in (
       select webhook_id from pgstream.webhook_deliveries
       where webhook_id = any($1::text[])
       order by commit_lsn, ordinal
       for update skip locked)`,
    [ids],
  );
  if (rowCount === ids.length) return new Set();
  const { rows } = await client.query<{ webhook_id: string }>(
    'select webhook_id from pgstream.webhook_deliveries where webhook_id = any($1::text[])',
    [ids],
  );
  return new Set(rows.map(({ webhook_id: id }) => id));
}

/** Notes the last attempt of those that nobody has locked. */
export async function noteAttempts(
  client: pg.Client,
  deliveries: readonly Delivery[],
): Promise<void> {
  if (deliveries.length > 0) await note(client, deliveries, null);
}

/** Marks a delivery as set aside; false where somebody has locked it. */
export async function setAside(client: pg.Client, delivery: Delivery, as: Aside): Promise<boolean> {
  if ((await note(client, [delivery], as)) === 1) return true;
  const { rows } = await client.query(
    'select from pgstream.webhook_deliveries where webhook_id = $1',
    [delivery.id],
  );
  return rows.length === 0;
}

/** Returns how many rows it has written. */
async function note(
  client: pg.Client,
  deliveries: readonly Delivery[],
  state: Aside | null,
): Promise<number> {
  const rows = deliveries.map(({ id, attempts, activeMs, lastFailure }) => ({
    id,
    attempts,
    active: `${activeMs} ms`,
    status: lastFailure?.status ?? null,
    error: lastFailure?.reason ?? null,
    at: lastFailure?.at.toISOString() ?? null,
  }));
  const { rowCount } = await client.query(
    `update pgstream.webhook_deliveries d
     set state = coalesce($3, d.state), attempts = a.attempts, active_for = a.active,
         last_attempt_at = coalesce(a.at, d.last_attempt_at),
         last_status = case when a.at is null then d.last_status else a.status end,
         last_error = coalesce(a.error, d.last_error)
     from jsonb_to_recordset($1::jsonb)
       as a(id text, attempts integer, active interval, status integer, error text, at timestamptz)
     where d.webhook_id = a.id
       and d.webhook_id in (
         select l.webhook_id from pgstream.webhook_deliveries l
         where l.webhook_id = any($2::text[])
         order by l.commit_lsn, l.ordinal
         for update skip locked)`,
    [JSON.stringify(rows), deliveries.map(({ id }) => id), state],
  );
  return rowCount ?? 0;
}

/** Deletes the oldest, as many as it takes to free `bytes`, but at most `most`; returns them. */
export async function dropOldest(
  client: pg.Client,
  subscription: number,
  bytes: number,
  most: number,
): Promise<readonly Dropped[]> {
  const { rows } = await client.query<Dropped>(
    `delete from pgstream.webhook_deliveries d
     using (
       select webhook_id, sum(bytes) over (order by commit_lsn, ordinal) - bytes as older
       from (
         select webhook_id, commit_lsn, ordinal, octet_length(body) as bytes
         from pgstream.webhook_deliveries
         where subscription = $1
         order by commit_lsn, ordinal
         limit $3
         for update skip locked
       ) l
     ) o
     where d.webhook_id = o.webhook_id and o.older < $2
     returning d.webhook_id as id, octet_length(d.body) as bytes`,
    [subscription, bytes, most],
  );
  return rows;
}

/** Deletes up to `most` rows of a subscription that nobody has locked; returns how many. */
export async function clearSome(
  client: pg.Client,
  subscription: number,
  most: number,
): Promise<number> {
  const { rowCount } = await client.query(
    `delete from pgstream.webhook_deliveries
     where webhook_id in (
       select webhook_id from pgstream.webhook_deliveries
       where subscription = $1
       limit $2
       for update skip locked)`,
    [subscription, most],
  );
  return rowCount ?? 0;
}

/** Forgets the state of a subscription that is no more; whether it has no deliveries left. */
export async function isCleared(client: pg.Client, subscription: number): Promise<boolean> {
  await client.query('delete from pgstream.subscription_state where subscription = $1', [
    subscription,
  ]);
  const { rows } = await client.query(
    'select from pgstream.webhook_deliveries where subscription = $1 limit 1',
    [subscription],
  );
  return rows.length === 0;
}
