import { describe, expect, test } from 'vitest';
import { parseSize } from '../../src/settings/size.js';

describe('a size', () => {
  test.each([
    ['104857600', 104_857_600],
    ['100MiB', 104_857_600],
    ['100MB', 100_000_000],
    ['64kib', 65_536],
    ['64 KiB', 65_536],
    ['1.5GiB', 1_610_612_736],
    ['2G', 2_000_000_000],
    ['12B', 12],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(['', 'MiB', '-1', '1.5', '10 apples', '1iB', '99999999TB'])('cannot be %j', (text) => {
    expect(() => parseSize(text)).toThrow(
      expect.objectContaining({ code: 'invalid_size', exitCode: 2 }),
    );
  });
});
