import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultSlotName, parseSlotName } from '../../src/settings/slot-name.js';

describe('the default slot name', () => {
  test.each([
    ['postgres', 'pgstream_postgres_slot'],
    ['My-Shop.2', 'pgstream_my_shop_2_slot'],
    ['Läden', 'pgstream_l_den_slot'],
  ])('of database %s is %s', (database, name) => {
    expect(defaultSlotName(database)).toBe(name);
  });

  test('keeps its ending when a long database name is cut', () => {
    const name = defaultSlotName('x'.repeat(63));
    expect(name).toHaveLength(63);
    expect(name).toMatch(/^pgstream_x+_slot$/);
  });

  test('is one that Postgres accepts, whatever the database is called', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (database) => {
        const name = defaultSlotName(database);
        expect(parseSlotName(name)).toBe(name);
      }),
    );
  });
});

test('a slot name that Postgres would refuse is answered with one that it accepts', () => {
  expect(() => parseSlotName('My-Slot')).toThrow(
    expect.objectContaining({
      message: expect.stringContaining('"My-Slot"'),
      hint: 'Use my_slot instead.',
      exitCode: 2,
    }),
  );
});
