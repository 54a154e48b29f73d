import { PgstreamError } from '../errors.js';
import type { Connection } from '../settings/connection.js';
import { databaseError } from '../settings/database-error.js';
import { formatLsn, type Lsn } from './lsn.js';

const undefinedObject = '42704';
const notInState = '55000';

/** Turns an error met while reading a slot into one that a user can act on. */
export function slotError(error: unknown, connection: Connection, slot: string): PgstreamError {
  const explained = databaseError(error, connection);
  if (explained.code === notInState && /replication slot/.test(explained.message)) {
    return new PgstreamError('slot_lost', `replication slot "${slot}": ${explained.message}`, {
      hint: `${explained.hint ?? ''} Begin anew, from now on: ${anew(slot)}`.trim(),
      cause: error,
    });
  }
  if (explained.code !== undefinedObject) return explained;
  if (/replication slot/.test(explained.message)) {
    return new PgstreamError('slot_missing', `replication slot "${slot}" is gone`, {
      hint: 'What was not delivered is lost with it. pgstream init makes a new one, from now on.',
      cause: error,
    });
  }
  if (/publication/.test(explained.message)) {
    return publicationMissing(explained.message, slot, error);
  }
  return explained;
}

export const publicationMissing = (message: string, slot: string, cause?: unknown): PgstreamError =>
  new PgstreamError('publication_missing', message, {
    hint: `It was dropped, or is younger than the slot. Begin anew, from now on: ${anew(slot)}`,
    cause,
  });

/** What to type for a new slot, through which nothing comes that was written before. */
export const anew = (slot: string): string =>
  `select pg_drop_replication_slot('${slot}'); then pgstream init --replication-slot ${slot}`;

/** The slot is at a position that we never confirmed. */
export const slotMoved = (slot: string, confirmed: Lsn, position: Lsn): PgstreamError =>
  new PgstreamError(
    'slot_moved',
    `replication slot "${slot}" was advanced or made anew by somebody else: ` +
      `what lies between ${formatLsn(confirmed)} and ${formatLsn(position)} was not delivered`,
    {
      hint: `pgstream init --replication-slot ${slot} accepts the gap; then start pgstream again.`,
    },
  );
