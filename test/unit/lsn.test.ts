import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatLsn, parseLsn } from '../../src/replication/lsn.js';

describe('a log position', () => {
  test.each([
    [0n, '0/0'],
    [0x15a5c70n, '0/15A5C70'],
    [0xffff_ffffn, '0/FFFFFFFF'],
    [0x1_0000_0000n, '1/0'],
    [0x16_b374_d848n, '16/B374D848'],
    [0x1_0000_000an, '1/A'],
    [0xffff_ffff_ffff_ffffn, 'FFFFFFFF/FFFFFFFF'],
  ])('%d is printed as %s', (lsn, text) => {
    expect(formatLsn(lsn)).toBe(text);
    expect(parseLsn(text)).toBe(lsn);
  });

  test('is the same after being printed and read, and keeps its order', () => {
    const position = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    fc.assert(
      fc.property(position, position, (one, other) => {
        expect(parseLsn(formatLsn(one))).toBe(one);
        expect(parseLsn(formatLsn(one)) < parseLsn(formatLsn(other))).toBe(one < other);
      }),
    );
  });

  test.each(['16/b374d848', '00000016/B374D848'])('is also read from %s', (text) => {
    expect(parseLsn(text)).toBe(0x16_b374_d848n);
  });

  test.each(['', '0', '/', '0/', '/0', '0/0/0', '0x1/0', '0/G', ' 0/0', '0/0\n', '123456789/0'])(
    'is not read from %j',
    (text) => {
      expect(() => parseLsn(text)).toThrow(RangeError);
    },
  );
});
