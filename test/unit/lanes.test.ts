import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Lanes, type Ordering, type Place } from '../../src/delivery/lanes.js';

interface Step {
  tables: number[];
  keys: number[];
  barrier: boolean;
  ordering: Ordering;
}

class Delivery implements Place {
  readonly ordering: Ordering;
  readonly tables: readonly number[];
  readonly keys: readonly number[];
  readonly barrier: boolean;
  turn = 0;
  before: Place | undefined;
  behind: Place | undefined;
  waitsFor = 0;
  followers: readonly Place[] = [];

  constructor({ tables, keys, barrier, ordering }: Step) {
    this.ordering = ordering;
    this.tables = tables;
    this.keys = barrier ? [] : keys;
    this.barrier = barrier;
  }
}

const ordering = 'key';
const change = (table: number, ...keys: number[]) =>
  new Delivery({ tables: [table], keys, barrier: false, ordering });
const barrier = (...tables: number[]) =>
  new Delivery({ tables, keys: [], barrier: true, ordering });
const strict = () => new Delivery({ tables: [1], keys: [], barrier: false, ordering: 'strict' });
const free = () => new Delivery({ tables: [1], keys: [7], barrier: false, ordering: 'none' });

/** What the order of the two means, whatever the lanes do. */
const conflict = (one: Delivery, other: Delivery) =>
  one.ordering === 'strict' ||
  other.ordering === 'strict' ||
  (one.ordering === 'key' &&
    other.ordering === 'key' &&
    (one.keys.some((key) => other.keys.includes(key)) ||
      ((one.barrier || other.barrier) &&
        one.tables.some((table) => other.tables.includes(table)))));

/** Keys may be those of another table as well: two rows can share a hash. */
const steps = fc.array(
  fc.record({
    tables: fc.uniqueArray(fc.nat(2), { minLength: 1, maxLength: 2 }),
    keys: fc.uniqueArray(fc.nat(5), { maxLength: 2 }),
    barrier: fc.nat(9).map((n) => n === 0),
    ordering: fc.nat(19).map((n): Ordering => (n === 0 ? 'strict' : n === 1 ? 'none' : 'key')),
  }),
  { maxLength: 60 },
);

/** Follows some lanes from outside: what runs, what is done, what was added. */
function follow() {
  const lanes = new Lanes<Delivery>();
  const added: Delivery[] = [];
  const running = new Set<Delivery>();
  const done = new Set<Delivery>();
  return {
    added,
    running,
    done,
    add(delivery: Delivery) {
      added.push(delivery);
      if (lanes.add(delivery)) running.add(delivery);
    },
    finish(delivery: Delivery) {
      running.delete(delivery);
      done.add(delivery);
      for (const next of lanes.done(delivery)) {
        expect(running).not.toContain(next);
        expect(done).not.toContain(next);
        running.add(next);
      }
    },
    /** Those that have nothing to wait for, by the definition of the order. */
    free: () =>
      new Set(
        added.filter(
          (delivery, at) =>
            !done.has(delivery) &&
            !added
              .slice(0, at)
              .some((earlier) => !done.has(earlier) && conflict(earlier, delivery)),
        ),
      ),
  };
}

test('a delivery runs as soon as all earlier ones of its keys and the barriers of its table are done, and no sooner', () => {
  fc.assert(
    fc.property(steps, fc.infiniteStream(fc.nat()), (all, choices) => {
      const lanes = follow();
      const choose = (below: number) => choices.next().value! % below;
      const waiting = all.map((step) => new Delivery(step));
      while (waiting.length > 0 || lanes.running.size > 0) {
        const finish = waiting.length === 0 || (lanes.running.size > 0 && choose(2) === 0);
        if (finish) lanes.finish([...lanes.running][choose(lanes.running.size)]!);
        else lanes.add(waiting.shift()!);
        expect(lanes.running).toEqual(lanes.free());
      }
      expect(lanes.done.size).toBe(all.length);
    }),
    { numRuns: 300 },
  );
});

test('nothing is left behind: when all are done, each key and each table is free at once', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const lanes = follow();
      for (const step of all) lanes.add(new Delivery(step));
      for (const delivery of lanes.running) lanes.finish(delivery);
      for (let table = 0; table <= 2; table++) {
        const probes = [barrier(table), change(table, 0, 1), change(table, 2, 3)];
        for (const probe of probes) {
          lanes.add(probe);
          expect(lanes.running).toContain(probe);
          lanes.finish(probe);
        }
      }
    }),
  );
});

describe('one by one', () => {
  test('changes of different rows run side by side, and of one row one after the other', () => {
    const lanes = new Lanes<Delivery>();
    const [first, second, other] = [change(1, 7), change(1, 7), change(1, 8)];
    expect([first, second, other].map((delivery) => lanes.add(delivery))).toEqual([
      true,
      false,
      true,
    ]);
    expect(lanes.done(first)).toEqual([second]);
  });

  test('a change of a key waits for both rows and holds up both', () => {
    const lanes = new Lanes<Delivery>();
    const [from, to, move] = [change(1, 7), change(1, 8), change(1, 7, 8)];
    const [laterFrom, laterTo] = [change(1, 7), change(1, 8)];
    for (const delivery of [from, to, move, laterFrom, laterTo]) lanes.add(delivery);
    expect(lanes.done(to)).toEqual([]);
    expect(lanes.done(from)).toEqual([move]);
    expect(lanes.done(move)).toEqual([laterFrom, laterTo]);
  });

  test('two changes between the same two keys wait once for each other', () => {
    const lanes = new Lanes<Delivery>();
    const [there, back, last] = [change(1, 7, 8), change(1, 8, 7), change(1, 7)];
    for (const delivery of [there, back, last]) lanes.add(delivery);
    expect(lanes.done(there)).toEqual([back]);
    expect(lanes.done(back)).toEqual([last]);
  });

  test('a barrier runs alone in its table, and other tables do not notice', () => {
    const lanes = new Lanes<Delivery>();
    const [before, truncate, after, elsewhere] = [
      change(1, 7),
      barrier(1),
      change(1, 8),
      change(2),
    ];
    expect([before, truncate, after, elsewhere].map((delivery) => lanes.add(delivery))).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(lanes.done(before)).toEqual([truncate]);
    expect(lanes.done(truncate)).toEqual([after]);
  });

  test('barriers of one table run in the order in which they came', () => {
    const lanes = new Lanes<Delivery>();
    const [one, two, three] = [barrier(1), barrier(1), barrier(1)];
    expect([one, two, three].map((delivery) => lanes.add(delivery))).toEqual([true, false, false]);
    expect(lanes.done(one)).toEqual([two]);
    expect(lanes.done(two)).toEqual([three]);
    expect(lanes.done(three)).toEqual([]);
  });

  test('changes of a table without a key run side by side', () => {
    const lanes = new Lanes<Delivery>();
    expect([change(1), change(1), change(1)].map((delivery) => lanes.add(delivery))).toEqual([
      true,
      true,
      true,
    ]);
  });

  test('a barrier of several tables holds up each of them', () => {
    const lanes = new Lanes<Delivery>();
    const [both, one, other, third] = [barrier(1, 2), change(1, 7), change(2, 8), change(3, 9)];
    expect([both, one, other, third].map((delivery) => lanes.add(delivery))).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(lanes.done(both)).toEqual([one, other]);
  });

  test('in strict order everything waits for everything, also where the order is changed', () => {
    const lanes = new Lanes<Delivery>();
    const [before, one, two, after] = [change(1, 7), strict(), strict(), change(2, 9)];
    expect([before, one, two, after].map((delivery) => lanes.add(delivery))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(lanes.done(before)).toEqual([one]);
    expect(lanes.done(one)).toEqual([two]);
    expect(lanes.done(two)).toEqual([after]);
  });

  test('without an order changes of one row run side by side', () => {
    const lanes = new Lanes<Delivery>();
    expect([free(), free(), change(1, 7)].map((delivery) => lanes.add(delivery))).toEqual([
      true,
      true,
      true,
    ]);
  });
});
