/**
 * The record of how far a slot was delivered, set to where the slot is: the user accepts that what
 * lies between is not delivered, or may be delivered again.
 */
import type pg from 'pg';
import { askOver } from '../lease/connection.js';
import { readRecord } from '../lease/row.js';
import { formatLsn, parseLsn } from '../replication/lsn.js';

/**
 * Returns what to warn of; undefined when record and slot agree. `isNew`: the slot has just been
 * created, so that whatever is on record is about another one.
 */
export async function acceptPosition(
  client: pg.Client,
  slotName: string,
  { isNew }: { readonly isNew: boolean },
): Promise<string | undefined> {
  // The slot first: while a runner moves both, the record is ahead.
  const slot = await client.query<{ position: string; end: string }>(
    `select confirmed_flush_lsn::text as position, pg_current_wal_insert_lsn()::text as end
     from pg_replication_slots where slot_name = $1`,
    [slotName],
  );
  const { confirmed: recorded, isOfOtherServer } = await readRecord(askOver(client), slotName);
  if (recorded === null) return undefined;
  const { position, end } = slot.rows[0]!;
  const [at, confirmed] = [parseLsn(position), formatLsn(recorded)];
  const isKnown = at <= recorded && recorded <= parseLsn(end);
  if (isKnown && !isNew && !isOfOtherServer) return undefined;
  await client.query(
    `update pgstream.runner_lease l
     set confirmed_lsn = $2, system_identifier = server.system_identifier
     from pg_control_system() server
     where slot_name = $1 and confirmed_lsn = $3`,
    [slotName, position, confirmed],
  );
  if (recorded > parseLsn(end)) {
    return (
      `replication slot "${slotName}" was delivered up to ${confirmed} of a log that this server ` +
      `does not have; it goes on from ${formatLsn(at)}`
    );
  }
  if (at === recorded) return undefined;
  if (at > recorded) {
    return (
      `replication slot "${slotName}" goes on from ${position}: what was committed between ` +
      `${confirmed} and there is not delivered`
    );
  }
  return isOfOtherServer
    ? `replication slot "${slotName}" goes on from ${position}; what another server, from which ` +
        'this database comes, had not delivered yet is not in the log of this one'
    : `replication slot "${slotName}" goes on from ${position}, before ${confirmed}: what lies ` +
        'between is delivered again';
}
