import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Action } from '../../src/event/encode.js';
import { nameMatcher, Registry } from '../../src/subscriptions/registry.js';
import type { Subscription } from '../../src/subscriptions/subscription.js';
import { testSubscription } from '../helpers/subscription.js';

const subscription = (id: number, given: Partial<Subscription> = {}): Subscription =>
  testSubscription({ id, url: `http://127.0.0.1/${id}`, table: 'orders', ...given });

function registryOf(...subscriptions: Subscription[]) {
  const registry = new Registry();
  for (const each of subscriptions) registry.set(each);
  return registry;
}

const idsOf = (subscriptions: readonly Subscription[]) => subscriptions.map(({ id }) => id);

/** The meaning of a pattern, in the plainest words. */
function fits(name: readonly string[], pattern: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return name.length === 0;
  if (first === '*') {
    return fits(name, rest) || (name.length > 0 && fits(name.slice(1), pattern));
  }
  return name.length > 0 && (first === '?' || first === name[0]) && fits(name.slice(1), rest);
}

describe('a name', () => {
  const letter = fc.constantFrom(
    'a',
    'B',
    '.',
    '\\',
    '$',
    '[',
    '(',
    '|',
    '^',
    '+',
    '%',
    '_',
    '\n',
    '😀',
  );
  const pattern = fc.array(fc.oneof(letter, fc.constantFrom('*', '?')), {
    minLength: 1,
    maxLength: 6,
  });

  test('fits a pattern when * stands for any run of characters and ? for any one', () => {
    fc.assert(
      fc.property(fc.array(letter, { maxLength: 6 }), pattern, (name, wanted) => {
        expect(nameMatcher(wanted.join(''))(name.join(''))).toBe(fits(name, wanted));
      }),
      { numRuns: 1_000 },
    );
  });

  test('fits the pattern that is made of it', () => {
    fc.assert(
      fc.property(fc.array(letter, { minLength: 1 }), fc.nat(), (name, at) => {
        const holed = name.map((each, i) => (i === at % name.length ? '?' : each));
        expect(nameMatcher(holed.join(''))(name.join(''))).toBe(true);
      }),
    );
  });

  test('of any kind fits the empty pattern', () => {
    expect(['', 'a', '*', 'a\nb'].map(nameMatcher(''))).toEqual([true, true, true, true]);
  });
});

describe('a registry', () => {
  const part = fc.constantFrom('', 'app', 'public', 'a*', '*', 'ap?', 'orders', 'orders_2');
  const actions = ['I', 'U', 'D', 'T'] as const;
  const step = fc.record({
    id: fc.nat(6),
    remove: fc.nat(3).map((n) => n === 0),
    schema: part,
    table: part,
    eventTypes: fc.subarray<Action>([...actions]),
  });

  test('answers like a search through all that is subscribed, in the order of ids', () => {
    const place = fc.constantFrom('app', 'public', 'orders', 'orders_2', 'other');
    fc.assert(
      fc.property(fc.array(step), place, place, (steps, schema, table) => {
        const registry = new Registry();
        const all = new Map<number, Subscription>();
        for (const { remove, id, ...given } of steps) {
          if (remove) {
            all.delete(id);
            registry.delete(id);
          } else {
            all.set(id, subscription(id, given));
            registry.set(all.get(id)!);
          }
        }
        for (const action of actions) {
          const expected = [...all.values()]
            .filter(
              (each) =>
                nameMatcher(each.schema)(schema) &&
                nameMatcher(each.table)(table) &&
                (each.eventTypes.length === 0 || each.eventTypes.includes(action)),
            )
            .sort((a, b) => a.id - b.id);
          expect(registry.match(schema, table, action)).toEqual(expected);
        }
      }),
    );
  });

  test('forgets the table that a subscription had before', () => {
    const registry = registryOf(subscription(1), subscription(1, { table: 'customers' }));
    expect(registry.match('public', 'orders', 'I')).toEqual([]);
    expect(idsOf(registry.match('public', 'customers', 'I'))).toEqual([1]);
    registry.set(subscription(1, { table: '*' }));
    registry.set(subscription(1, { table: 'orders' }));
    expect(registry.match('public', 'customers', 'I')).toEqual([]);
  });

  test('does not take a dot or a quote in a name for the border of another one', () => {
    const registry = registryOf(
      subscription(1, { schema: 'a.b', table: 'c' }),
      subscription(2, { schema: 'a', table: 'b.c' }),
      subscription(3, { schema: 'a"', table: '"c' }),
    );
    expect(idsOf(registry.match('a.b', 'c', 'I'))).toEqual([1]);
    expect(idsOf(registry.match('a', 'b.c', 'I'))).toEqual([2]);
    expect(idsOf(registry.match('a"', '"c', 'I'))).toEqual([3]);
  });

  test('finds business events by name and by beginning, for subscriptions to no table', () => {
    const all = { schema: '', table: '' };
    const registry = registryOf(
      subscription(1, { ...all, eventTypes: ['order.paid'] }),
      subscription(2, { ...all, eventTypes: ['I', 'order.*'] }),
      subscription(3, { ...all, eventTypes: ['*'] }),
      subscription(4, { ...all }),
      subscription(5, { ...all, table: 'orders', eventTypes: ['*'] }),
      subscription(6, { ...all, schema: '*', eventTypes: ['*'] }),
      subscription(7, { ...all, eventTypes: ['order.paid.*'] }),
    );
    expect(idsOf(registry.matchBusiness('order.paid'))).toEqual([1, 2, 3]);
    expect(idsOf(registry.matchBusiness('order.paid.late'))).toEqual([2, 3, 7]);
    expect(idsOf(registry.matchBusiness('orders.paid'))).toEqual([3]);
    expect(idsOf(registry.match('public', 'orders', 'I'))).toEqual([2, 3, 4, 5, 6]);
    expect(idsOf(registry.match('public', 'orders', 'D'))).toEqual([3, 4, 5, 6]);
  });

  test('has another epoch after each change, and the same one after none', () => {
    const registry = registryOf();
    const epochs = [registry.epoch];
    registry.set(subscription(1));
    epochs.push(registry.epoch);
    registry.set(subscription(1, { url: 'http://127.0.0.1/other' }));
    epochs.push(registry.epoch);
    registry.delete(1);
    epochs.push(registry.epoch);
    expect(new Set(epochs).size).toBe(4);
    registry.delete(1);
    registry.match('public', 'orders', 'I');
    expect(registry.epoch).toBe(epochs.at(-1));
  });
});
