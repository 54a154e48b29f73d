import { usageError } from './usage.js';

const longest = 63;
const suffix = '_slot';

const allowed = (name: string) => name.toLowerCase().replace(/[^a-z0-9_]/gu, '_');

/** The slot of a database for which no name was given: `pgstream_<database>_slot`. */
export const defaultSlotName = (database: string): string =>
  allowed(`pgstream_${database}`).slice(0, longest - suffix.length) + suffix;

/**
 * Accepts the name of a replication slot.
 *
 * @throws a usage error where Postgres would refuse the name; its hint has one that it accepts.
 * @see https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS-MANIPULATION
 */
export function parseSlotName(name: string): string {
  if (!/^[a-z0-9_]{1,63}$/.test(name)) {
    throw usageError(
      'invalid_slot_name',
      `"${name}" is not the name of a replication slot: only a to z, 0 to 9 and _, at most ${longest}`,
      `Use ${allowed(name).slice(0, longest)} instead.`,
    );
  }
  return name;
}
