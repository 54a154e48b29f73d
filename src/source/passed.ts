/** What runners write down of the changes that they have passed in the log. */
import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import type { Sql } from 'postgres';
import { formatLsn, type Lsn } from '../replication/lsn.js';
import { changesAhead, type SlotName } from './ahead.js';
import { unpassedVersions } from './schema-log.js';
import type { Transactions } from './transactions.js';

/** The changes of one transaction that runners have to know again after a start. */
export interface Passed {
  /** Ids of `pgstream.subscription_changes`. */
  readonly subscriptionChanges: readonly string[];
  /** The last version of each schema. */
  readonly versions: ReadonlyMap<string, bigint>;
  /** Ids of versions that metadata is filled in from. */
  readonly acked: readonly string[];
}

/** A commit is in the log a moment before others see its rows: these are looked for so often … */
const mostTries = 50;
/** … with pauses of so many milliseconds. Rows that somebody has deleted never come. */
const visibleMs = 20;

/** The stream has passed the commit of these changes, which ends at `commitEnd`. */
export async function markPassed(
  transactions: Transactions,
  { subscriptionChanges, versions, acked }: Passed,
  commitEnd: Lsn,
): Promise<void> {
  const at = formatLsn(commitEnd);
  for (let tries = 0; tries < mostTries; tries++) {
    const seen = await transactions.run(async (client) => {
      const changes = await client.query(
        `update pgstream.subscription_changes set commit_lsn = $2::pg_lsn
         where id = any($1::bigint[])`,
        [subscriptionChanges, at],
      );
      if (versions.size > 0) await writePositions(client, versions, at);
      const versionsSeen = await client.query(
        'update pgstream.schema_log set acked = true where id = any($1::text[])',
        [acked],
      );
      return (changes.rowCount ?? 0) + (versionsSeen.rowCount ?? 0);
    });
    if (seen === subscriptionChanges.length + acked.length) return;
    await setTimeout(visibleMs);
  }
}

async function writePositions(
  client: pg.Client,
  versions: ReadonlyMap<string, bigint>,
  at: string,
): Promise<void> {
  await client.query(
    `insert into pgstream.schema_positions (schema_name, version, commit_lsn)
     select v.schema_name, v.version, $3::pg_lsn
     from unnest($1::text[], $2::bigint[]) v(schema_name, version)
     on conflict on constraint schema_positions_pkey do update set commit_lsn = excluded.commit_lsn`,
    [[...versions.keys()], [...versions.values()], at],
  );
}

/**
 * Changes that are older than the slot never come in the stream, and no runner has passed them.
 * Marks them as passed; they are told apart by looking ahead in the slot.
 */
export async function markOlderThanSlot(
  sql: Sql,
  transactions: Transactions,
  slot: SlotName,
  position: Lsn,
): Promise<void> {
  await forgetOtherServers(transactions);
  const changes = await sql<{ id: string }[]>`
    select id::text from pgstream.subscription_changes where commit_lsn is null`;
  const versions = await unpassedVersions(sql);
  if (changes.length === 0 && versions.size === 0) return;

  const ahead = await changesAhead(sql, slot, position);
  const subscriptionChanges = changes.flatMap(({ id }) =>
    ahead.subscriptionChanges.has(id) ? [] : id,
  );
  const older = [...versions].map(([schema, last]): [string, bigint] => {
    const first = ahead.firstVersions.get(schema);
    return [schema, first === undefined ? last : first - 1n];
  });
  const passed = new Map(older.filter(([, version]) => version > 0n));
  if (subscriptionChanges.length === 0 && passed.size === 0) return;
  await markPassed(transactions, { subscriptionChanges, versions: passed, acked: [] }, position);
}

/** Positions that this server has not reached yet come from another one, by a dump. */
async function forgetOtherServers(transactions: Transactions): Promise<void> {
  await transactions.run(async (client) => {
    await client.query(
      `update pgstream.subscription_changes set commit_lsn = null
       where commit_lsn > pg_current_wal_insert_lsn()`,
    );
    await client.query(
      `delete from pgstream.schema_positions where commit_lsn > pg_current_wal_insert_lsn()`,
    );
  });
}
