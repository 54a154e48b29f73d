import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cellSize, Line, type Cells } from '../../src/replication/wal2json-line.js';
import { anyText } from '../helpers/random-values.js';

const undecodable = expect.objectContaining({
  name: 'PgstreamError',
  code: 'undecodable_message',
  hint: expect.stringContaining('wal2json'),
});

/** Reads a line that lies between other bytes. */
function read(text: string): Line {
  const before = Buffer.from('}"\\');
  const bytes = Buffer.concat([before, Buffer.from(text), Buffer.from('"}')]);
  const line = new Line();
  line.open(bytes, before.length, bytes.length - 2);
  line.finish();
  return line;
}

/** The cells as names, oids of types, and texts. */
const cellsOf = (line: Line, cells: Cells | undefined) =>
  cells &&
  Array.from({ length: cells.numbers.length / cellSize }, (_, i) => {
    const [nameStart, nameEnd, type, start, end] = cells.numbers.slice(cellSize * i);
    return [
      line.text(nameStart!, nameEnd!),
      type,
      start! < 0 ? null : line.text(start!, end!),
    ] as const;
  });

const cell = (value: string, type = 25, name = 'v') =>
  `{"name":${JSON.stringify(name)},"typeoid":${type},"value":${value}}`;
const change = (rest: string) => `{"action":"I","xid":7,"schema":"s","table":"t",${rest}}`;
const valueOf = (value: string, type?: number) => {
  const line = read(change(`"columns":[${cell(value, type)}]`));
  return cellsOf(line, line.columns)![0]![2];
};

describe('a line of wal2json', () => {
  test('tells of the begin and the end of a transaction', () => {
    const rest =
      '"xid":4294967295,"timestamp":"2026-11-22 18:59:23.069829+00","lsn":"0/1551638","nextlsn":"1/0"}';
    const said = {
      xid: 4_294_967_295,
      timestamp: '2026-11-22 18:59:23.069829+00',
      lsn: '0/1551638',
      nextLsn: '1/0',
    };
    expect(read(`{"action":"B",${rest}`)).toMatchObject({ action: 'B', ...said });
    expect(read(`{"action":"C",${rest}`)).toMatchObject({ action: 'C', ...said });
  });

  test('tells of columns and identity, in their order', () => {
    const line = read(
      '{"action":"U","schema":"a \\"b\\"","table":"é\\t😀","columns":[' +
        `${cell('1', 23, 'id')},${cell('"x"')}],"identity":[${cell('2', 23, 'id')}]}`,
    );
    expect(line).toMatchObject({ action: 'U', schema: 'a "b"', table: 'é\t😀' });
    expect(cellsOf(line, line.columns)).toEqual([
      ['id', 23, '1'],
      ['v', 25, 'x'],
    ]);
    expect(cellsOf(line, line.identity)).toEqual([['id', 23, '2']]);
  });

  test('that ends before its rows has none, whatever the one before it had', () => {
    const line = new Line();
    for (const [text, columns] of [
      [change(`"columns":[${cell('1')}]`), 1],
      ['{"action":"T","schema":"s","table":"t"}', undefined],
    ] as const) {
      const bytes = Buffer.from(text);
      line.open(bytes, 0, bytes.length);
      line.finish();
      expect(cellsOf(line, line.columns)?.length).toBe(columns);
      expect(line.identity).toBeUndefined();
    }
  });

  test('passes over what it does not know', () => {
    const line = read(
      change(`"pk":[{"name":"a]}\\"","type":"x"}],"more":{"a":[1,"}"]},"columns":[${cell('1')}]`),
    );
    expect(cellsOf(line, line.columns)).toEqual([['v', 25, '1']]);
  });

  test('keeps each digit of a number', () => {
    for (const number of [
      '9007199254740993',
      '-0.10',
      '1e-30',
      '123456789012345678901234567890.5',
    ]) {
      expect(valueOf(number, 1700)).toBe(number);
    }
  });

  test('gives a boolean as Postgres prints it, and null', () => {
    expect(valueOf('true', 16)).toBe('t');
    expect(valueOf('false', 16)).toBe('f');
    expect(valueOf('null', 16)).toBeNull();
  });

  test('gives a bytea its prefix again', () => {
    expect(valueOf('"00ff"', 17)).toBe('\\x00ff');
    expect(valueOf('""', 17)).toBe('\\x');
    expect(valueOf('null', 17)).toBeNull();
  });

  test('gives any text and any name as it is', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyText(), anyText(40))), (cells) => {
        const line = read(
          change(
            `"columns":[${cells.map(([name, value]) => cell(JSON.stringify(value), 25, name)).join()}]`,
          ),
        );
        expect(cellsOf(line, line.columns)).toEqual(
          cells.map(([name, value]) => [name, 25, value]),
        );
      }),
    );
  });

  test('that is cut short anywhere is refused', () => {
    const whole = change(`"columns":[${cell('1')},${cell('"a\\u0001\\n"')},${cell('true')}]`);
    for (let length = 1; length < whole.length; length++) {
      expect(() => read(whole.slice(0, length)), whole.slice(0, length)).toThrow(undecodable);
    }
  });

  test('of any bytes is read or refused, and nothing else happens', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(60), (noise, at) => {
        const whole = Buffer.from(change(`"columns":[${cell('"a"')}]`));
        const bytes = Buffer.concat([
          whole.subarray(0, at),
          Buffer.from(noise),
          whole.subarray(at),
        ]);
        const line = new Line();
        try {
          line.open(bytes, 0, bytes.length);
          line.finish();
        } catch (error) {
          expect(error).toEqual(undecodable);
        }
      }),
    );
  });
});
