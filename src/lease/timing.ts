/**
 * When a lease holds, and when it may be taken: every decision about time, as pure functions.
 *
 * The leader counts from just before it sent its last heartbeat that was answered, a stand-by from
 * when the server wrote it, which is later. `validMs` is well below `silenceMs`, so a leader has
 * stopped by itself before anybody takes over, however late it learns of that.
 */

/** All in milliseconds. */
export interface Periods {
  /** Between two heartbeats. */
  readonly beatMs: number;
  /** The same while a position that was written down waits for the log to be flushed. */
  readonly flushMs: number;
  /** A heartbeat that is not answered by then is sent again, on a new connection. */
  readonly answerMs: number;
  /** For so long after a heartbeat was sent its leader may act. */
  readonly validMs: number;
  /** A leader that has been silent for longer has lost the lease to whoever takes it. */
  readonly silenceMs: number;
  /** Between two looks of a stand-by. */
  readonly pollMs: number;
  /** How long a transaction may keep a taker of the lease waiting before it is ended. */
  readonly blockedMs: number;
  /** How long the old reader of a slot may take to leave it. */
  readonly leaveMs: number;
}

export const usualPeriods: Periods = {
  beatMs: 500,
  flushMs: 200,
  answerMs: 1_500,
  validMs: 2_000,
  silenceMs: 3_000,
  pollMs: 250,
  blockedMs: 1_000,
  leaveMs: 2_000,
};

/** One moment on two clocks: the one that never jumps, and the one that goes on in a suspended machine. */
export interface Moment {
  readonly steady: number;
  readonly wall: number;
}

/** Whether a leader may act, whose last answered heartbeat was sent at `sent`. */
export function isValidAt(now: Moment, sent: Moment, validMs: number): boolean {
  return now.steady - sent.steady < validMs && now.wall - sent.wall < validMs;
}

/** How long to wait before the next heartbeat, when the last was sent `sinceSentMs` ago. */
export function nextBeatMs(
  periods: Periods,
  state: {
    readonly sinceSentMs: number;
    /** Heartbeats that have failed in a row. */
    readonly failures: number;
    readonly awaitsFlush: boolean;
  },
): number {
  if (state.failures === 1) return 0;
  const every = state.failures > 1 || state.awaitsFlush ? periods.flushMs : periods.beatMs;
  return Math.max(0, every - state.sinceSentMs);
}

/** What a stand-by knows of a lease. */
export interface Sighting {
  /** How old the last heartbeat is by the server's clock; undefined when the lease was released. */
  readonly silentMs: number | undefined;
  /** For how long this stand-by has seen no other heartbeat than that, by its own clock. */
  readonly unchangedMs: number;
  /** The process that holds the lease is known to have ended. */
  readonly holderIsDead: boolean;
}

export type Vacancy = 'released' | 'dead' | 'silent';

/** Why a lease may be taken; undefined while it may not. */
export function vacancyOf(
  { silentMs, unchangedMs, holderIsDead }: Sighting,
  silenceMs: number,
): Vacancy | undefined {
  if (silentMs === undefined) return 'released';
  if (holderIsDead) return 'dead';
  // What a stand-by has seen itself counts as well: a server whose clock was set back, or another
  // server after a failover, can hold a heartbeat from the future.
  return silentMs > silenceMs || unchangedMs > silenceMs ? 'silent' : undefined;
}
