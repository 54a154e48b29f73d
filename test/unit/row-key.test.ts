import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { rowKey } from '../../src/event/row-key.js';
import { decode, type Tuple } from '../../src/replication/pgoutput.js';
import { insert, newRow, unchanged, type Value } from '../helpers/pgoutput-bytes.js';
import { anyText } from '../helpers/random-values.js';

function row(...values: Value[]): Tuple {
  const message = decode(insert(1, newRow(...values)));
  if (message.tag !== 'insert') throw new Error(`a ${message.tag}`);
  return message.new;
}

const value = fc.oneof(anyText(8), fc.constant(null));

describe('the key of a row', () => {
  test('is the same wherever the row lies in a message, and whatever else is in the row', () => {
    fc.assert(
      fc.property(value, value, value, value, (a, b, other, another) => {
        const key = rowKey(7, [0, 2], row(a, other, b));
        expect(rowKey(7, [0, 2], row(a, another, b))).toBe(key);
        expect(rowKey(7, [1, 3], row(other, a, another, b))).toBe(key);
      }),
    );
  });

  test('is a whole number from 0 to 2^31 - 1', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.array(value, { maxLength: 5 }), (table, values) => {
        const key = rowKey(table, [...values.keys()], row(...values));
        expect(Number.isInteger(key) && key >= 0 && key <= 0x7fff_ffff).toBe(true);
      }),
    );
  });

  test('tells apart rows, tables, and where one value ends and the next begins', () => {
    const keys = [
      rowKey(1, [0], row('1')),
      rowKey(1_000, [0], row('1')),
      rowKey(1, [0], row('2')),
      rowKey(1, [0], row('')),
      rowKey(1, [0], row(null)),
      rowKey(1, [0, 1], row('', '')),
      rowKey(1, [0, 1], row('', null)),
      rowKey(1, [0, 1], row(null, '')),
      rowKey(1, [0, 1], row('ab', 'c')),
      rowKey(1, [0, 1], row('a', 'bc')),
      rowKey(1, [0, 1], row('abc', '')),
      rowKey(1, [0, 1], row('c', 'ab')),
    ];
    expect(new Set(keys).size).toBe(keys.length);
  });

  test('is taken from the old row where the update did not send a value', () => {
    const old = row('1', 'long', 'x');
    const key = rowKey(1, [0, 1], old);
    expect(rowKey(1, [0, 1], row('1', unchanged, 'y'), old)).toBe(key);
    expect(rowKey(1, [0, 1], row('2', unchanged, 'y'), old)).not.toBe(key);
  });

  test('is the same for every update that sends no value and has no old row', () => {
    expect(rowKey(1, [0], row(unchanged))).toBe(rowKey(1, [0], row(unchanged)));
  });

  test('spreads consecutive ids: a thousand rows share hardly any', () => {
    const keys = Array.from({ length: 1_000 }, (_, i) => rowKey(16_471, [0], row(String(i))));
    expect(new Set(keys).size).toBeGreaterThan(990);
  });
});
