import { inject } from 'vitest';

/**
 * The cluster of this worker, which no other test file uses at the same time: creating a slot waits
 * for every open write transaction of its cluster, whichever database it is in.
 */
export const clusterUrl = (): string =>
  inject('clusterUrls')[Number(process.env['VITEST_POOL_ID'] ?? 1) - 1]!;
