import { expect, test } from 'vitest';
import { batchOf } from '../../src/delivery/batch.js';
import { Delivery, type Failure } from '../../src/delivery/delivery.js';
import { outcomeOf } from '../../src/delivery/outcome.js';

const limit = { onExhausted: 'dead_letter', retryForMs: 1_000 } as const;

const failed = (status: number): Failure => ({ status, reason: '', at: new Date(0) });

/** One that has been tried so often, for so long. */
const tried = (id: string, attempts: number, activeMs = 0): Delivery =>
  new Delivery({
    id,
    subscription: 1,
    commitLsn: 1n,
    ordinal: 1,
    event: { schema: 'public', table: 'item', action: 'U', committedAt: '' },
    format: 'pgstream',
    body: undefined,
    bytes: 2,
    transaction: undefined,
    stored: 'yes',
    attempts,
    activeMs,
    tables: [1],
    keys: [],
    barrier: false,
  });

const idsOf = (batches: readonly { members: readonly Delivery[] }[]) =>
  batches.map(({ members }) => members.map(({ id }) => id));

test('what failed is sent again as it was', () => {
  const batch = batchOf([tried('a', 1), tried('b', 1)], true);
  const { exhausted, again, isSplit } = outcomeOf(batch, failed(500), false, limit);
  expect([exhausted, again, isSplit]).toEqual([[], [batch], false]);
});

test('a batch that is refused is halved at once, even when its time is up', () => {
  const batch = batchOf([tried('a', 1, 2_000), tried('b', 1), tried('c', 1)], true);
  const { exhausted, again, isSplit } = outcomeOf(batch, failed(422), false, limit);
  expect([exhausted, idsOf(again), isSplit]).toEqual([[], [['a', 'b'], ['c']], true]);
});

test.each([408, 410, 425, 429])('a status of %d is no refusal of what was sent', (status) => {
  const batch = batchOf([tried('a', 1), tried('b', 1)], true);
  expect(outcomeOf(batch, failed(status), false, limit).isSplit).toBe(false);
});

test('a batch that fails twice while others are accepted is halved, but not in a pause', () => {
  const batch = batchOf([tried('a', 2), tried('b', 2)], true);
  expect(outcomeOf(batch, failed(500), true, limit).isSplit).toBe(false);
  expect(outcomeOf(batch, failed(500), false, limit).isSplit).toBe(true);
});

test('only those that were tried for long enough are given up', () => {
  const batch = batchOf([tried('a', 1, 1_000), tried('b', 1, 999)], true);
  const { exhausted, again } = outcomeOf(batch, failed(500), false, limit);
  expect([exhausted.map(({ id }) => id), idsOf(again)]).toEqual([['a'], [['b']]]);
});

test('nothing is given up where a subscription would rather wait', () => {
  const batch = batchOf([tried('a', 1, 1_000)], false);
  const rules = { ...limit, onExhausted: 'block' } as const;
  expect(outcomeOf(batch, failed(500), false, rules)).toMatchObject({
    exhausted: [],
    again: [batch],
  });
});

test('what waits for another member leaves the batch, to come again after it', () => {
  const [first, second, given] = [tried('a', 1), tried('b', 1), tried('c', 1, 1_000)];
  const batch = batchOf([first, second, given], true);
  second.waitsFor = 1;
  const { again } = outcomeOf(batch, failed(500), false, limit);
  expect([idsOf(again), first.batched, second.batched]).toEqual([[['a']], true, false]);
});
