/** Well under the server's default wal_sender_timeout of 60 s. */
const repeatAfterMs = 10_000;
/** A quiet server is asked for a sign of life after this long … */
const askAfterMs = 15_000;
/** … and given up after this long. */
const giveUpAfterMs = 30_000;

/**
 * What to do about a connection to a walsender at this moment.
 *
 * - `send`: tell it the confirmed position, since that is new or the last word is old;
 * - `ask`: the same, and ask for a reply;
 * - `give-up`: nothing has come for so long, although asked, that the connection must be gone.
 */
export function nextFeedback(state: {
  /** Milliseconds since the server was last heard. */
  readonly silentMs: number;
  /** Milliseconds since we last sent feedback. */
  readonly sinceSentMs: number;
  /** The confirmed position is not the one last sent. */
  readonly news: boolean;
}): 'wait' | 'send' | 'ask' | 'give-up' {
  if (state.silentMs >= giveUpAfterMs) return 'give-up';
  if (state.silentMs >= askAfterMs) return 'ask';
  if (state.news || state.sinceSentMs >= repeatAfterMs) return 'send';
  return 'wait';
}
