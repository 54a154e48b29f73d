/**
 * The ids of a snapshot's events: made of the request, the table and the bytes of the row, so that
 * they are the same however often the same row is read.
 */
import { createHash } from 'node:crypto';
import { eventIdPrefix } from '../event/webhook-id.js';
import type { Relation } from '../replication/pgoutput.js';

/** What the ids of all events of one table of a request begin with. */
export const snapshotIdPrefix = (system: bigint, request: number, oid: number): string =>
  `${eventIdPrefix(system)}snapshot${request}_${oid}_`;

/** What the id of a row's event has behind that, but for the subscription. */
export const rowDigest = (relation: Relation, line: Buffer): string =>
  createHash('sha256')
    .update(`${relation.columns.map(({ name, typeOid }) => `${typeOid} ${name}`).join('\0')}\n`)
    .update(line)
    .digest('hex')
    .slice(0, 32);
