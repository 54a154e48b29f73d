import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../delivery/backoff.js';
import { PgstreamError, exitCode } from '../errors.js';
import type { Log } from '../log.js';

/** Pauses between attempts to reach Postgres again. */
export const reconnectBackoff = { firstMs: 200, mostMs: 10_000 };

/** A short query whose answer has not come by then is on a connection that is lost. */
const answerMs = 15_000;

const readOnly = '25006';

/**
 * Does a piece of work that needs Postgres, again and again while Postgres cannot be reached or does
 * not answer. Other errors, and the end of `signal`, are thrown. The work must be short, and may be
 * done twice.
 */
export async function persist<T>(
  work: () => Promise<T>,
  options: {
    readonly explain: (error: unknown) => PgstreamError;
    readonly signal: AbortSignal;
    readonly log: Log;
    /** How long an answer may take, in milliseconds; 15 s when absent. */
    readonly patienceMs?: number;
  },
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      options.signal.throwIfAborted();
      return await answered(work(), options.patienceMs ?? answerMs);
    } catch (error) {
      const explained = options.explain(error);
      if (options.signal.aborted || !isAway(explained)) throw explained;
      const retryInMs = backoffMs(reconnectBackoff, failures, Math.random());
      options.log.warn({ reason: explained.message, retryInMs }, 'Postgres is away; trying again');
      await sleep(retryInMs, undefined, { signal: options.signal });
    }
  }
}

/**
 * Whether the server is not there: it cannot be reached, or is read-only since another one has taken
 * its place or it is about to be promoted.
 */
export const isAway = ({ code, exitCode: exit }: PgstreamError): boolean =>
  exit === exitCode.cannotConnect || code === readOnly;

/** Rejects as a lost connection when there is no answer in time. */
export async function answered<T>(work: Promise<T>, patienceMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new PgstreamError('no_answer', 'a query was not answered', {
          exitCode: exitCode.cannotConnect,
        }),
      );
    }, patienceMs);
  });
  try {
    return await Promise.race([work, silence]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}
