/**
 * What can happen to a slot while it is read, or while nobody reads it: asked of the server in one
 * query, judged by a pure function.
 * https://www.postgresql.org/docs/current/view-pg-replication-slots.html
 */
import { PgstreamError } from '../errors.js';
import { checkSlot } from '../install/slot.js';
import { publications } from '../install/publications.js';
import { formatLsn, parseLsn, type Lsn } from '../replication/lsn.js';
import { publicationMissing, slotMoved } from '../replication/slot-error.js';
import { arrayLiteral } from '../source/array-literal.js';
import type { Ask } from './connection.js';

/** How far the slot has been read, as we know it. */
export interface Reading {
  /** The greatest position that we have confirmed, or are about to; null when none is known. */
  readonly confirmed: () => Lsn | null;
  /** The greatest position that the server has told us of. */
  readonly received: () => Lsn;
}

/** What the server says. */
export interface SlotFacts {
  readonly database: string;
  readonly inRecovery: boolean;
  /** The end of the server's log; null while it is in recovery. */
  readonly inserted: string | null;
  readonly missingPublications: readonly string[];
  readonly slot: {
    readonly plugin: string | null;
    readonly database: string | null;
    readonly active_pid: number | null;
    readonly confirmed_flush_lsn: string | null;
    readonly wal_status: string | null;
    /** Since PostgreSQL 17. */
    readonly invalidation_reason?: string | null;
    /** Since PostgreSQL 16. */
    readonly conflicting?: boolean | null;
  } | null;
}

/**
 * What keeps the slot from being read, with the next command to type; undefined while all is well.
 * Rejects with the PgstreamError of a question that failed.
 */
export async function findTrouble(
  ask: Ask,
  slotName: string,
  { confirmed, received }: Reading,
): Promise<PgstreamError | undefined> {
  // The order matters, since the stream goes on meanwhile: what was received before the question
  // must be in the log, and what the slot is at must have been confirmed before the answer.
  const before = received();
  const facts = await askSlotFacts(ask, slotName);
  return troublesOf(facts, slotName, { confirmed: confirmed(), received: before })[0];
}

export async function askSlotFacts(ask: Ask, slotName: string): Promise<SlotFacts> {
  // As JSON, for the columns of the view differ between versions.
  const [row] = await ask<SlotFacts>(
    `select current_database() as database,
       pg_is_in_recovery() as "inRecovery",
       case when not pg_is_in_recovery() then pg_current_wal_insert_lsn()::text end as inserted,
       to_json(array(
         select name from unnest($2::text[]) name
         where not exists (select from pg_publication where pubname = name)
       )) as "missingPublications",
       (select to_jsonb(s) from pg_replication_slots s where s.slot_name = $1) as slot`,
    [slotName, arrayLiteral(publications)],
  );
  return row!;
}

/** All that is wrong, the gravest first. */
export function troublesOf(
  facts: SlotFacts,
  slotName: string,
  known: {
    readonly confirmed: Lsn | null;
    readonly received: Lsn;
    /** `confirmed` is a position in the log of another server. */
    readonly isOfOtherServer?: boolean;
  },
): PgstreamError[] {
  if (facts.inRecovery) return [standby()];
  return [
    unusable(facts, slotName),
    facts.missingPublications.length > 0
      ? publicationMissing(
          `publications are missing: ${facts.missingPublications.join(', ')}`,
          slotName,
        )
      : undefined,
    behind(facts, slotName, known),
    moved(facts, slotName, known.confirmed),
    known.isOfOtherServer ? otherServer(slotName) : undefined,
  ].filter((trouble) => trouble !== undefined);
}

function unusable({ slot, database }: SlotFacts, slotName: string): PgstreamError | undefined {
  try {
    const isInvalid = slot?.invalidation_reason || slot?.conflicting;
    checkSlot(
      slot
        ? {
            plugin: slot.plugin,
            database: slot.database,
            activePid: slot.active_pid,
            confirmedLsn: slot.confirmed_flush_lsn,
            walStatus: isInvalid ? 'lost' : slot.wal_status,
          }
        : undefined,
      slotName,
      database,
    );
    return undefined;
  } catch (error) {
    if (error instanceof PgstreamError) return error;
    throw error;
  }
}

const otherServer = (slotName: string) =>
  new PgstreamError(
    'other_server',
    `how far replication slot "${slotName}" was delivered was written down on another server: the ` +
      'database was restored from a dump, or upgraded',
    {
      hint:
        'What that server had not delivered yet is not in the log of this one. ' +
        `pgstream init --replication-slot ${slotName} accepts that, and goes on from where the ` +
        'slot is; then start pgstream again.',
    },
  );

function behind(
  { inserted }: SlotFacts,
  slotName: string,
  { confirmed, received }: { readonly confirmed: Lsn | null; readonly received: Lsn },
): PgstreamError | undefined {
  const seen = confirmed !== null && confirmed > received ? confirmed : received;
  if (inserted === null || seen <= parseLsn(inserted)) return undefined;
  return serverBehind(slotName, parseLsn(inserted), seen);
}

/** The log of the server has only been the one that we know up to `end`. */
export const serverBehind = (slotName: string, end: Lsn, read: Lsn): PgstreamError =>
  new PgstreamError(
    'server_behind',
    `the log of the server ends at ${formatLsn(end)}, or is another one from there on, but was ` +
      `read up to ${formatLsn(read)} before: the server was restored from a backup, or another ` +
      'one that lagged behind took its place',
    {
      hint:
        'Events may have been delivered that this server knows nothing of. ' +
        `pgstream init --replication-slot ${slotName} accepts that; then start pgstream again.`,
    },
  );

function moved(
  { slot }: SlotFacts,
  slotName: string,
  confirmed: Lsn | null,
): PgstreamError | undefined {
  const position = slot?.confirmed_flush_lsn;
  if (!position || confirmed === null || parseLsn(position) <= confirmed) return undefined;
  return slotMoved(slotName, confirmed, parseLsn(position));
}

const standby = () =>
  new PgstreamError('in_recovery', 'the server is a stand-by, or still recovers from a crash', {
    hint: 'Connect to the primary; if this is to become it: select pg_promote();',
  });
