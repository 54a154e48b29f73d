import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JsonWriter } from '../../src/event/json-writer.js';
import type { ValueKind } from '../../src/event/value.js';
import { anyText } from '../helpers/random-values.js';

function written(write: (writer: JsonWriter) => void, writer = new JsonWriter()): string {
  write(writer);
  return writer.take().toBuffer().toString();
}

const asString = (text: string, writer?: JsonWriter) => {
  const bytes = Buffer.from(text);
  return written((to) => to.string(bytes, 0, bytes.length), writer);
};

const asValue = (kind: ValueKind, text: string) => {
  const bytes = Buffer.from(`<${text}>`);
  return written((writer) => writer.value(kind, bytes, 1, bytes.length - 1));
};

/** Characters that JSON escapes, that some escape for no need, and that take several bytes. */
const awkward = [...Array(0x20).keys()]
  .map((code) => String.fromCharCode(code))
  .concat('"', '\\', '/', '<', '>', '&', '\x7f', '\x80', '\u2028', '\u2029', '\ufeff', 'é', '😀');

describe('a string', () => {
  test.each(awkward)('of %j alone or amid others is what JSON.stringify writes', (character) => {
    for (const text of [character, `a${character}`, `${character}z`, character.repeat(3)]) {
      expect(asString(text)).toBe(JSON.stringify(text));
    }
  });

  test('of anything is what JSON.stringify writes', () => {
    const unit = fc.oneof(fc.constantFrom(...awkward), anyText(1), anyText(60));
    const text = fc.array(unit, { maxLength: 60 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (one) => {
        expect(asString(one)).toBe(JSON.stringify(one));
      }),
      { numRuns: 1_000 },
    );
  });

  test('is copied whole where runs between two escapes are short, long and in between', () => {
    for (let length = 0; length <= 60; length++) {
      const run = 'x'.repeat(length);
      const text = `${run}"${run}\n${run}`;
      expect(asString(text)).toBe(JSON.stringify(text));
      expect(asString(run)).toBe(JSON.stringify(run));
    }
  });

  test.each([32_767, 65_533, 65_534, 65_535, 65_536, 131_072, 1_000_003])(
    'of %d characters makes the buffer grow as often as it takes',
    (length) => {
      for (const text of ['x'.repeat(length), '\u0001'.repeat(length), 'é'.repeat(length)]) {
        expect(asString(text) === JSON.stringify(text)).toBe(true);
      }
    },
  );

  test('is taken from the middle of a message', () => {
    const bytes = Buffer.from('before"inside"after');
    expect(written((writer) => writer.string(bytes, 6, 14))).toBe('"\\"inside\\""');
    expect(written((writer) => writer.string(bytes, 6, 6))).toBe('""');
  });
});

describe('a value', () => {
  test.each<[ValueKind, string, string]>([
    ['number', '9223372036854775807', '9223372036854775807'],
    ['number', '-9223372036854775808', '-9223372036854775808'],
    ['number', '1.5000000000', '1.5000000000'],
    ['number', '-0', '-0'],
    ['number', '1e-07', '1e-07'],
    ['number', `-${'9'.repeat(1_000)}`, `-${'9'.repeat(1_000)}`],
    ['number', 'NaN', 'null'],
    ['number', 'Infinity', 'null'],
    ['number', '-Infinity', 'null'],
    ['boolean', 't', 'true'],
    ['boolean', 'f', 'false'],
    ['bytea', '\\xdeadbeef', '"deadbeef"'],
    ['bytea', '\\x', '""'],
    ['text', 'NaN', '"NaN"'],
    ['text', '', '""'],
    ['text', '\\xff', '"\\\\xff"'],
  ])('of kind %s written as %s in Postgres is %s in JSON', (kind, text, json) => {
    expect(asValue(kind, text)).toBe(json);
  });
});

describe('a writer', () => {
  test('is empty after its document was taken, and what was taken stays as it was', () => {
    const writer = new JsonWriter();
    const text = 'a'.repeat(100);
    writer.ascii(text);
    const first = writer.take();
    expect(writer.take().length).toBe(0);
    writer.ascii('b'.repeat(200));
    expect(first.toBuffer().toString()).toBe(text);
  });

  test('can write a small document after one that made its buffer grow', () => {
    const writer = new JsonWriter();
    expect(asString('x'.repeat(300_000), writer)).toHaveLength(300_002);
    expect(asString('y', writer)).toBe('"y"');
  });

  test('keeps the order of whatever parts a document is written in, across growth', () => {
    const part = fc.oneof(
      fc.string({ unit: 'grapheme-ascii', maxLength: 30_000, size: 'max' }),
      fc.string({ maxLength: 30 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        const document = written((writer) => {
          for (const text of parts) {
            writer.ascii(text);
            writer.byte(0x2c);
            writer.raw(Buffer.from(text));
            writer.null();
          }
        });
        expect(document).toBe(parts.map((text) => `${text},${text}null`).join(''));
      }),
      { numRuns: 20 },
    );
  });
});
