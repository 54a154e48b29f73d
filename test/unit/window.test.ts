import { expect, test } from 'vitest';
import { batchOf, cutBatch } from '../../src/delivery/batch.js';
import { Delivery } from '../../src/delivery/delivery.js';
import { Window } from '../../src/delivery/window.js';
import { sliceOf } from '../../src/event/slice.js';

let count = 0;

/** A stored event of these rows whose body is in memory. */
const event = (...keys: number[]): Delivery =>
  new Delivery({
    id: `event ${++count}`,
    subscription: 1,
    commitLsn: 1n,
    ordinal: count,
    event: { schema: 'public', table: 'item', action: 'U', committedAt: '' },
    format: 'pgstream',
    body: sliceOf(Buffer.from('{}')),
    bytes: 2,
    transaction: undefined,
    stored: 'yes',
    tables: [1],
    keys,
    barrier: false,
  });

function windowOf(...deliveries: Delivery[]): Window {
  const window = new Window();
  for (const delivery of deliveries) window.add(delivery);
  return window;
}

function finish(window: Window, delivery: Delivery): void {
  delivery.done = true;
  window.done(delivery);
}

/** All that may run, in order. */
function takeReady({ ready }: Window): Delivery[] {
  return Array.from({ length: ready.length }, () => ready.shift()!);
}

test('a change of key is parked with what it waits for, also when its other row is free', () => {
  const [one, two] = [event(1), event(2)];
  const more = Array.from({ length: 300 }, () => event(2));
  const change = event(1, 2);
  const window = windowOf(one, two, ...more, change);
  expect(takeReady(window)).toEqual([one, two]);
  window.failed(one);
  window.failed(two);
  finish(window, one);
  const parked = window.evict();
  expect(parked).toHaveLength(301);
  expect(parked).toContain(change);
  expect(window.size).toBe(1);
});

test('what is let go before its turn lets nothing overtake what it has waited for', () => {
  const [first, second, third] = [event(1), event(1), event(1)];
  const window = windowOf(first, second, third);
  expect(takeReady(window)).toEqual([first]);
  finish(window, second);
  expect(takeReady(window)).toEqual([]);
  finish(window, first);
  expect(takeReady(window)).toEqual([third]);
});

test('what is part of a batch does not also run alone when the one before it is skipped', () => {
  const [first, second, third] = [event(1), event(1), event(1)];
  const window = windowOf(first, second);
  const batch = batchOf(
    cutBatch(window.ready, 10, () => true),
    true,
  );
  expect(batch.members).toEqual([first, second]);
  window.add(third);
  finish(window, first);
  expect(takeReady(window)).toEqual([]);
  finish(window, second);
  expect(takeReady(window)).toEqual([third]);
});

test('what is let go is not sent any more', () => {
  const [first, second, other] = [event(1), event(1), event(2)];
  const window = windowOf(first, second, other);
  finish(window, first);
  expect(cutBatch(window.ready, 10, () => true)).toEqual([other, second]);
});

test('what is parked is due once something that had failed is done', () => {
  const [first, second] = [event(1), event(2)];
  const window = windowOf(first, second);
  first.attempts = 1;
  window.failed(first);
  window.park(event(1));
  finish(window, second);
  expect(window.isUnparkDue).toBe(false);
  finish(window, first);
  expect(window.isUnparkDue).toBe(true);
  window.unpark();
  expect([window.isUnparkDue, window.parked]).toEqual([false, 0]);
});

test('what is parked is due when nothing else is left, whatever became of that', () => {
  const window = windowOf();
  window.park(event(1));
  expect(window.isUnparkDue).toBe(false);
  expect(window.evict()).toEqual([]);
  expect(window.isUnparkDue).toBe(true);
});
