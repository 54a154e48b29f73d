import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDuration } from '../../src/settings/duration.js';

describe('a duration', () => {
  test.each([
    ['60s', 60_000],
    ['500ms', 500],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['1m0.5s', 60_500],
    ['0s', 0],
  ])('%s is %d milliseconds', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  test('without a unit is refused, with both readings as the hint', () => {
    expect(() => parseDuration('60')).toThrow(
      expect.objectContaining({ message: '"60" has no unit', hint: 'Write 60s or 60ms.' }),
    );
  });

  test.each(['', 's', '-1s', '1 s', '5d', '1s2', '1..5s', '1S'])('cannot be %j', (text) => {
    expect(() => parseDuration(text)).toThrow(
      expect.objectContaining({ code: 'invalid_duration', exitCode: 2 }),
    );
  });

  test('is the sum of its parts', () => {
    fc.assert(
      fc.property(fc.nat(99), fc.nat(99), fc.nat(99), fc.nat(999), (h, m, s, ms) => {
        expect(parseDuration(`${h}h${m}m${s}s${ms}ms`)).toBe(((h * 60 + m) * 60 + s) * 1000 + ms);
      }),
    );
  });
});
