import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatTimestamp, toPostgresMicroseconds } from '../../src/replication/timestamp.js';

const day = 86_400_000_000n;

describe('microseconds since 2000', () => {
  test.each([
    [0n, '2000-01-01 00:00:00+00'],
    [1n, '2000-01-01 00:00:00.000001+00'],
    [-1n, '1999-12-31 23:59:59.999999+00'],
    [10n, '2000-01-01 00:00:00.00001+00'],
    [100_000n, '2000-01-01 00:00:00.1+00'],
    [123_450n, '2000-01-01 00:00:00.12345+00'],
    [999_999n, '2000-01-01 00:00:00.999999+00'],
    [1_000_000n, '2000-01-01 00:00:01+00'],
    [10_000_000n, '2000-01-01 00:00:10+00'],
    [-10_957n * day, '1970-01-01 00:00:00+00'],
    [-10_957n * day - 1n, '1969-12-31 23:59:59.999999+00'],
    [59n * day, '2000-02-29 00:00:00+00'],
    [-36_465n * day, '1900-03-01 00:00:00+00'],
    [795_174_767_579_305n, '2025-03-13 09:52:47.579305+00'],
    [1_200_798_847_000_000n, '2038-01-19 03:14:07+00'],
    [-730_119n * day, '0001-01-01 00:00:00+00'],
    [2_921_940n * day - 1n, '9999-12-31 23:59:59.999999+00'],
  ])('%d are %s', (microseconds, text) => {
    expect(formatTimestamp(microseconds)).toBe(text);
  });

  test('never end in a zero after the point, and keep every other digit', () => {
    const year = fc.bigInt({ min: 0n, max: 366n * day - 1n });
    fc.assert(
      fc.property(year, (microseconds) => {
        const [, seconds, fraction = ''] =
          /^2000-\d\d-\d\d \d\d:\d\d:(\d\d)(?:\.(\d{0,5}[1-9]))?\+00$/.exec(
            formatTimestamp(microseconds),
          ) ?? [];
        expect(BigInt(seconds! + fraction.padEnd(6, '0'))).toBe(microseconds % 60_000_000n);
      }),
    );
  });

  test('are counted from a JavaScript time', () => {
    expect(toPostgresMicroseconds(Date.UTC(2000, 0, 1))).toBe(0n);
    expect(toPostgresMicroseconds(Date.UTC(2000, 0, 1) - 1)).toBe(-1_000n);
    expect(toPostgresMicroseconds(0)).toBe(-10_957n * day);
    expect(formatTimestamp(toPostgresMicroseconds(Date.UTC(2025, 2, 13, 9, 52, 47, 579)))).toBe(
      '2025-03-13 09:52:47.579+00',
    );
  });
});
