import fc from 'fast-check';
import { expect, test } from 'vitest';
import { retryAfterMs } from '../../src/delivery/retry-after.js';

const now = Date.UTC(2030, 0, 31, 12, 0, 0);
const day = 24 * 60 * 60_000;

test.for([
  ['0', 0],
  ['1', 1_000],
  [' 120 ', 120_000],
  ['86400', day],
  ['1000000000', day],
  ['9'.repeat(400), day],
  ['Thu, 31 Jan 2030 12:00:30 GMT', 30_000],
  ['Thursday, 31-Jan-30 12:00:30 GMT', 30_000],
  ['Thu Jan 31 12:00:30 2030', 30_000],
  ['Fri Feb  1 11:00:00 2030', day - 60 * 60_000],
  ['Sun, 06 Nov 1994 08:49:37 GMT', 0],
  ['Sat, 31 Jan 2099 12:00:00 GMT', day],
] as const)('"%s" asks for %d ms', ([value, ms]) => {
  expect(retryAfterMs(value, now)).toBe(ms);
});

test.for([
  [undefined],
  [''],
  ['soon'],
  ['-1'],
  ['1.5'],
  ['1e3'],
  ['0x10'],
  ['12 parsecs'],
  ['2030-01-31T12:00:30Z'],
  ['Thu, 99 Jan 2030 12:00:30 GMT'],
  ['Thu, 31 Foo 2030 12:00:30 GMT'],
  ['Thu, 31 Jan 2030 12:00:30'],
  ['Thu, 31 Jan 2030 12:00:30 +0200'],
])('%o asks for nothing', ([value]) => {
  expect(retryAfterMs(value, now)).toBeUndefined();
});

test('whatever comes, it is a wait between nothing and a day, or none', () => {
  const date = fc.date({ noInvalidDate: true }).map((at) => at.toUTCString());
  const anything = fc.oneof(fc.string(), fc.integer().map(String), date);
  fc.assert(
    fc.property(anything, (value) => {
      const ms = retryAfterMs(value, now);
      expect(ms === undefined || (ms >= 0 && ms <= day)).toBe(true);
    }),
  );
});

test('every date that JavaScript writes is understood to the second', () => {
  const soon = fc.integer({ min: 0, max: day / 1000 });
  fc.assert(
    fc.property(soon, (seconds) => {
      const value = new Date(now + seconds * 1000).toUTCString();
      expect(retryAfterMs(value, now)).toBe(seconds * 1000);
    }),
  );
});
