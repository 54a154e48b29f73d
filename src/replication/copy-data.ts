/**
 * The messages of a replication connection in COPY BOTH mode.
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */
import type { Lsn } from './lsn.js';
import { toPostgresMicroseconds } from './timestamp.js';

export const copyTag = { data: 0x77, keepalive: 0x6b, status: 0x72 } as const;

/** Bytes of XLogData before the message of the output plugin: tag, start, end, clock. */
export const dataHeaderBytes = 25;

/**
 * What has arrived, one message behind the other; each ends where the next one begins. The bytes are
 * used again as soon as more is asked for.
 */
export interface Arrivals {
  readonly bytes: Buffer;
  readonly ends: readonly number[];
}

/**
 * Of the message at `start`: the position of the change that it tells of; of a keepalive, the one
 * before which everything has been sent.
 */
export const positionOf = (bytes: Buffer, start: number): Lsn => bytes.readBigUInt64BE(start + 1);

/** Whether a keepalive asks for an answer at once. */
export const asksForReply = (keepalive: Buffer): boolean => keepalive[17] === 1;

/** Standby status update: written, flushed and applied up to what is confirmed. */
export function statusUpdate(confirmed: Lsn, replyRequested: boolean): Buffer {
  const message = Buffer.alloc(34);
  message[0] = copyTag.status;
  message.writeBigUInt64BE(confirmed, 1);
  message.writeBigUInt64BE(confirmed, 9);
  message.writeBigUInt64BE(confirmed, 17);
  message.writeBigInt64BE(toPostgresMicroseconds(Date.now()), 25);
  message[33] = replyRequested ? 1 : 0;
  return message;
}
