/** The row of a lease: each statement that reads or writes it, but for the fence. */
import { parseLsn, formatLsn, type Lsn } from '../replication/lsn.js';
import type { Ask } from './connection.js';
import type { Answer } from './durable.js';
import type { Tenure } from './fence.js';
import type { Holder } from './holder.js';

/** What a runner says of itself with each heartbeat. */
export interface Report {
  /** Up to where all is done; undefined while that is not known. */
  readonly confirmed: Lsn | undefined;
  readonly state: 'starting' | 'waiting' | 'streaming' | 'reconnecting' | 'halted';
  /** Why it is halted, and what to do. */
  readonly problem?: string | undefined;
}

export interface LeaseRow {
  readonly epoch: string;
  readonly holder: Holder | null;
  /** The heartbeat as a text, to tell it from another one. */
  readonly heartbeat: string;
  /** Its age by the server's clock, in milliseconds; null when the lease was released. */
  readonly silentMs: number | null;
}

/** The row as it stands; undefined before anybody has held the lease. */
export async function readLease(
  ask: Ask,
  slotName: string,
  lock: '' | 'for update' = '',
): Promise<LeaseRow | undefined> {
  const [row] = await ask<LeaseRow>(
    `select epoch::text, holder, heartbeat_at::text as heartbeat,
       case when isfinite(heartbeat_at)
         then extract(epoch from clock_timestamp() - heartbeat_at)::float8 * 1000
       end as "silentMs"
     from pgstream.runner_lease where slot_name = $1 ${lock}`,
    [slotName],
  );
  return row;
}

/**
 * Locks the row, which is made where it is missing. FOR UPDATE, although the epoch is no key: the
 * lock has to keep the transactions of the old holder out.
 */
export async function lockLease(ask: Ask, slotName: string): Promise<LeaseRow> {
  await ask(
    'insert into pgstream.runner_lease (slot_name) values ($1) on conflict (slot_name) do nothing',
    [slotName],
  );
  return (await readLease(ask, slotName, 'for update'))!;
}

/** Begins a tenure in the row that is locked. */
export async function beginTenure(ask: Ask, slotName: string, holder: Holder): Promise<Tenure> {
  const [row] = await ask<{ epoch: string }>(
    `update pgstream.runner_lease
     set epoch = epoch + 1, holder = $2, heartbeat_at = clock_timestamp(),
       state = 'starting', problem = null,
       system_identifier = case
         when confirmed_lsn is null or runner_lease.system_identifier is null
           then server.system_identifier
         else runner_lease.system_identifier
       end
     from pg_control_system() server
     where slot_name = $1
     returning epoch::text`,
    [slotName, JSON.stringify(holder)],
  );
  return { slotName, epoch: BigInt(row!.epoch), id: holder.id };
}

/**
 * Writes a heartbeat; undefined when the tenure is over. A heartbeat that was long under way cannot
 * revive a lease that has been released since. `past`: before this moment everything is confirmed.
 *
 * A record that is older than what was durable before is that of a server which was restored: what is
 * confirmed is a position of another log, and is not written there. `confirmed`: the record now.
 */
export async function writeHeartbeat(
  ask: Ask,
  tenure: Tenure,
  { confirmed, state, problem }: Report,
  durable: Lsn,
  past?: string,
): Promise<
  (Omit<Answer, 'written'> & { readonly at: string; readonly confirmed: Lsn | null }) | undefined
> {
  const [row] = await ask<{
    inserted: string;
    flushed: string;
    at: string;
    confirmed: string | null;
  }>(
    `with log as materialized (
       select pg_current_wal_insert_lsn() as inserted, pg_current_wal_flush_lsn() as flushed
     )
     update pgstream.runner_lease
     set heartbeat_at = clock_timestamp(),
       confirmed_lsn = case
         when confirmed_lsn < $8::pg_lsn then confirmed_lsn
         else greatest(confirmed_lsn, $4::pg_lsn)
       end,
       confirmed_commit_at = coalesce($7::timestamptz, confirmed_commit_at),
       state = $5, problem = $6
     from log
     where slot_name = $1 and epoch = $2::bigint and holder ->> 'id' = $3
       and isfinite(heartbeat_at)
     returning log.inserted::text, log.flushed::text, heartbeat_at::text as at,
       confirmed_lsn::text as confirmed`,
    [
      tenure.slotName,
      String(tenure.epoch),
      tenure.id,
      confirmed === undefined ? null : formatLsn(confirmed),
      state,
      problem ?? null,
      past ?? null,
      formatLsn(durable),
    ],
  );
  if (!row) return undefined;
  const { inserted, flushed, at } = row;
  return {
    inserted: parseLsn(inserted),
    flushed: parseLsn(flushed),
    at,
    confirmed: row.confirmed === null ? null : parseLsn(row.confirmed),
  };
}

/** Ends a tenure, so that another runner need not wait. */
export async function endTenure(ask: Ask, { slotName, epoch, id }: Tenure): Promise<void> {
  await ask(
    `update pgstream.runner_lease
     set heartbeat_at = '-infinity', holder = null, state = 'stopped', problem = null
     where slot_name = $1 and epoch = $2::bigint and holder ->> 'id' = $3`,
    [slotName, String(epoch), id],
  );
}

/** How far the slot was delivered, as it stands on record. */
export interface DeliveryRecord {
  /** null when nothing has been confirmed yet. */
  readonly confirmed: Lsn | null;
  /** It is a position in the log of another server, from which the database was restored. */
  readonly isOfOtherServer: boolean;
}

export async function readRecord(ask: Ask, slotName: string): Promise<DeliveryRecord> {
  const [row] = await ask<{ confirmed: string | null; isOfOtherServer: boolean | null }>(
    `select confirmed_lsn::text as confirmed,
       l.system_identifier <> server.system_identifier as "isOfOtherServer"
     from pgstream.runner_lease l, pg_control_system() server where slot_name = $1`,
    [slotName],
  );
  const confirmed = row?.confirmed ? parseLsn(row.confirmed) : null;
  return { confirmed, isOfOtherServer: confirmed !== null && (row?.isOfOtherServer ?? false) };
}
