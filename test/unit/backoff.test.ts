import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from '../../src/delivery/backoff.js';

const backoff = { firstMs: 1_000, mostMs: 60_000 };

test('without chance the pause doubles with every failure, up to its bound', () => {
  const pauses = [1, 2, 3, 4, 5, 6, 7, 8, 100].map((failures) => backoffMs(backoff, failures, 0));
  expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
});

test('chance takes up to half of the pause away', () => {
  expect(backoffMs(backoff, 3, 0.5)).toBe(3_000);
  expect(backoffMs(backoff, 3, 1)).toBe(2_000);
});

test('the pause is a whole number of milliseconds between half and all of its bound, however many failures there were', () => {
  const settings = fc
    .record({
      firstMs: fc.integer({ min: 1, max: 10_000 }),
      factor: fc.integer({ min: 1, max: 1e5 }),
    })
    .map(({ firstMs, factor }) => ({ firstMs, mostMs: firstMs * factor }));
  fc.assert(
    fc.property(
      settings,
      fc.integer({ min: 1 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      ({ firstMs, mostMs }, failures, random) => {
        const pause = backoffMs({ firstMs, mostMs }, failures, random);
        expect(pause).toSatisfy(Number.isInteger);
        expect(pause).toBeGreaterThanOrEqual(Math.floor(firstMs / 2));
        expect(pause).toBeLessThanOrEqual(mostMs);
        const more = backoffMs({ firstMs, mostMs }, failures + 1, random);
        expect(more).toBeGreaterThanOrEqual(pause);
      },
    ),
  );
});
