import type { Subscription } from '../../src/subscriptions/subscription.js';

/** A subscription to all of schema public with the defaults of SQL. */
export const testSubscription = (given: Partial<Subscription> = {}): Subscription => ({
  id: 1,
  url: 'http://127.0.0.1/',
  schema: 'public',
  table: '',
  eventTypes: [],
  headers: {},
  maxInFlight: null,
  timeoutMs: null,
  injectMetadata: false,
  enabled: true,
  ordering: 'key',
  rate: null,
  batchSize: 1,
  batchWaitMs: 0,
  retryForMs: 3 * 86_400_000,
  onExhausted: 'dead_letter',
  spillQuota: 10 * 1024 ** 3,
  onQuota: 'hold',
  secret: null,
  filter: null,
  payload: null,
  format: 'pgstream',
  owner: 'postgres',
  ...given,
});
