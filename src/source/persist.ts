import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../delivery/backoff.js';
import { PgstreamError, exitCode } from '../errors.js';
import type { Log } from '../log.js';

/** Pauses between attempts to reach Postgres again. */
export const reconnectBackoff = { firstMs: 200, mostMs: 10_000 };

/**
 * Does a piece of work that needs Postgres, again and again while Postgres cannot be reached. Other
 * errors, and the end of `signal`, are thrown.
 */
export async function persist<T>(
  work: () => Promise<T>,
  options: {
    readonly explain: (error: unknown) => PgstreamError;
    readonly signal: AbortSignal;
    readonly log: Log;
  },
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      options.signal.throwIfAborted();
      return await work();
    } catch (error) {
      const explained = options.explain(error);
      if (options.signal.aborted || explained.exitCode !== exitCode.cannotConnect) throw explained;
      const retryInMs = backoffMs(reconnectBackoff, failures, Math.random());
      options.log.warn({ reason: explained.message, retryInMs }, 'Postgres is away; trying again');
      await sleep(retryInMs, undefined, { signal: options.signal });
    }
  }
}
