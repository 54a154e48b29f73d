/**
 * The timelines of a server: a new one begins with each promotion and each recovery to a point in
 * time, and from there on a position means something else than on the one before.
 * https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES
 */
import { parseLsn, type Lsn } from './lsn.js';

export interface Timelines {
  /** `system_identifier` of the cluster. */
  readonly system: bigint;
  readonly current: number;
  /** Those before the current one, the oldest first. */
  readonly past: readonly PastTimeline[];
}

export interface PastTimeline {
  readonly timeline: number;
  /** The first position that belongs to the next one. */
  readonly end: Lsn;
}

/**
 * Reads a history file: a line for each timeline before, with its number, the position where the
 * next one begins, and why. Comments begin with #.
 */
export function parseHistory(content: string): PastTimeline[] {
  return content.split(/\r?\n/).flatMap((line) => {
    if (/^\s*(#|$)/.test(line)) return [];
    const fields = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)(\s|$)/.exec(line);
    if (!fields) throw new RangeError(`not a line of a timeline history: ${line}`);
    return { timeline: Number(fields[1]), end: parseLsn(fields[2]!) };
  });
}

/**
 * The position where the server left the log that had been read up to `read`: it was restored, or one
 * that lagged behind took its place. Undefined where all that was read is part of its log.
 */
export function forkBefore(before: Timelines, now: Timelines, read: Lsn): Lsn | undefined {
  if (now.current === before.current) return undefined;
  const end = now.past.find(({ timeline }) => timeline === before.current)?.end ?? 0n;
  return end < read ? end : undefined;
}

/** The timeline that a position belongs to. Where two meet, it is the later one, as in the server. */
export function timelineAt({ past, current }: Timelines, position: Lsn): number {
  return past.find(({ end }) => position < end)?.timeline ?? current;
}
