import { setTimeout as delay } from 'node:timers/promises';

interface EventuallyOptions {
  /** Milliseconds until it gives up. */
  timeout?: number;
  /** Milliseconds between two attempts. */
  interval?: number;
  /** Ends the wait early; its reason is the cause in the error. */
  signal?: AbortSignal;
}

/**
 * Repeats a condition until it answers something truthy and returns that, or an assertion (which
 * answers nothing) until it no longer throws. Fails at the deadline, with the last error.
 */
export async function eventually<T extends NonNullable<unknown>>(
  condition: () => T | false | null | Promise<T | false | null>,
  options?: EventuallyOptions,
): Promise<T>;
export async function eventually(
  assertion: () => void | Promise<void>,
  options?: EventuallyOptions,
): Promise<void>;
export async function eventually(
  attempt: () => unknown,
  { timeout = 30_000, interval = 20, signal }: EventuallyOptions = {},
): Promise<unknown> {
  const deadline = Date.now() + timeout;
  let last: unknown;
  do {
    try {
      const answer = await attempt();
      if (answer || answer === undefined) return answer;
      last = `the condition answered ${JSON.stringify(answer)}`;
    } catch (error) {
      last = error;
    }
    if (signal?.aborted) throw failure('gave up', signal.reason);
    await delay(interval);
  } while (Date.now() < deadline);
  throw failure(`not within ${timeout} ms`, last);
}

function failure(what: string, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Error(`${what}: ${why}`, { cause });
}
