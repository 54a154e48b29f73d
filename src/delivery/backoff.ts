interface Backoff {
  readonly firstMs: number;
  readonly mostMs: number;
}

/**
 * The pause before the next try, in milliseconds, after `failures` failures in a row (1 or more):
 * doubled with each, and shortened by up to a half at random, so that many do not come back at once.
 */
export function backoffMs({ firstMs, mostMs }: Backoff, failures: number, random: number): number {
  const full = Math.min(mostMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(full * (1 - random / 2));
}
