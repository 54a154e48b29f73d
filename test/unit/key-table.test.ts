import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KeyTable } from '../../src/delivery/key-table.js';

/** Many that fall into the same slots, at the ends of the range too. */
const key = fc.oneof(
  fc.nat(12),
  fc.nat(40).map((n) => n * 64),
  fc.nat(5).map((n) => 0x7fffffff - n),
  fc.nat(0x7fffffff),
);
const step = fc.record({ does: fc.constantFrom('set', 'set', 'delete', 'get'), key });

test('it holds what a Map holds, whatever comes and goes', () => {
  fc.assert(
    fc.property(fc.array(step, { size: 'max', maxLength: 600 }), (steps) => {
      const table = new KeyTable<object>();
      const map = new Map<number, object>();
      const differing = () => steps.filter(({ key }) => table.get(key) !== map.get(key));
      const differingAtOnce = steps.filter(({ does, key }) => {
        const value = { key };
        if (does === 'set') {
          table.set(key, value);
          map.set(key, value);
        } else if (does === 'delete') {
          table.delete(key);
          map.delete(key);
        }
        return table.get(key) !== map.get(key);
      });
      expect(differingAtOnce).toEqual([]);
      expect(differing()).toEqual([]);
      for (const { key } of steps) table.delete(key);
      map.clear();
      expect(differing()).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test('it grows for thousands, and is used again when they have gone', () => {
  const table = new KeyTable<object>();
  const values = Array.from({ length: 5_000 }, (_, n) => ({ n }));
  for (let round = 0; round < 3; round++) {
    for (const [n, value] of values.entries()) table.set(n * 7919, value);
    expect(values.every((value, n) => table.get(n * 7919) === value)).toBe(true);
    for (const n of values.keys()) table.delete(n * 7919);
    expect(values.every((_, n) => table.get(n * 7919) === undefined)).toBe(true);
  }
});
