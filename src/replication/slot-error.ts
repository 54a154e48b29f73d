import { PgstreamError } from '../errors.js';
import type { Connection } from '../settings/connection.js';
import { databaseError } from '../settings/database-error.js';

const undefinedObject = '42704';

/** Turns an error met while reading a slot into one that a user can act on. */
export function slotError(error: unknown, connection: Connection, slot: string): PgstreamError {
  const explained = databaseError(error, connection);
  if (explained.code !== undefinedObject) return explained;
  if (/replication slot/.test(explained.message)) {
    return new PgstreamError('slot_missing', `replication slot "${slot}" is gone`, {
      hint: 'What was not delivered is lost with it. pgstream init makes a new one, from now on.',
      cause: error,
    });
  }
  if (/publication/.test(explained.message)) {
    return new PgstreamError('publication_missing', explained.message, {
      hint:
        'It was dropped, or is younger than the slot. ' +
        'pgstream tear-down && pgstream init make both anew, from now on.',
      cause: error,
    });
  }
  return explained;
}
