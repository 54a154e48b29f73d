import fc from 'fast-check';
import { loadModule } from 'libpg-query';
import { beforeAll, describe, expect, test } from 'vitest';
import { unqualified } from '../../scripts/unqualified.mjs';
import { barOf } from '../../src/commands/progress.js';
import { NULL, UNCHANGED, type Tuple } from '../../src/replication/pgoutput.js';
import { textOf } from '../../src/replication/tuple.js';
import { parseSnapshotSetting } from '../../src/settings/snapshot-tables.js';
import { Lines, parseLine } from '../../src/snapshot/copy-text.js';
import type { KeyColumn } from '../../src/snapshot/key.js';
import { selectRows } from '../../src/snapshot/reader.js';
import { keyTexts, Seam } from '../../src/snapshot/seam.js';
import { Visible } from '../../src/snapshot/visible.js';

const tuple = (...values: (string | null | typeof UNCHANGED)[]): Tuple => {
  const bytes = Buffer.from(values.filter((value) => typeof value === 'string').join(''));
  let at = 0;
  const spans = values.flatMap((value) => {
    if (typeof value !== 'string') return value === null ? [NULL, NULL] : [UNCHANGED, UNCHANGED];
    const start = at;
    at += Buffer.byteLength(value);
    return [start, at];
  });
  return { bytes, spans };
};

describe('a snapshot sees', () => {
  test('what had ended before it, and not what was under way or came later', () => {
    const visible = new Visible('100:110:100,105');
    const seen = [99, 100, 101, 104, 105, 109, 110, 111].filter((xid) => visible.has(xid));
    expect(seen).toEqual([99, 101, 104, 109]);
  });

  test('ids on both sides of where they begin anew', () => {
    const epoch = 3n * 2n ** 32n;
    const visible = new Visible(`${epoch - 5n}:${epoch + 5n}:${epoch - 5n},${epoch + 2n}`);
    expect(visible.has(2 ** 32 - 6)).toBe(true);
    expect(visible.has(2 ** 32 - 5)).toBe(false);
    expect(visible.has(2 ** 32 - 1)).toBe(true);
    expect(visible.has(1)).toBe(true);
    expect(visible.has(2)).toBe(false);
    expect(visible.has(5)).toBe(false);
    expect(visible.has(1_000)).toBe(false);
  });
});

describe('lines of COPY', () => {
  const escaped = (value: string | null) =>
    value === null
      ? '\\N'
      : value.replace(
          /[\\\b\f\n\r\t\v]/g,
          (one) =>
            `\\${({ '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v' } as Record<string, string>)[one] ?? one}`,
        );
  const value = fc.option(
    fc.string({
      unit: fc.constantFrom('a', 'N', 'b', '\\', '\t', '\n', '\r', '\v', '\b', '\f', 'ä', '😀'),
    }),
  );

  test('hold the same values, however they are cut on their way', () => {
    const rows = fc.array(fc.array(value, { minLength: 2, maxLength: 4 }), { maxLength: 5 });
    fc.assert(
      fc.property(rows, fc.array(fc.nat({ max: 40 })), (wanted, cuts) => {
        const text = wanted.map((row) => `${row.map(escaped).join('\t')}\n`).join('');
        const bytes = Buffer.from(text);
        const lines = new Lines();
        const read: (string | null)[][] = [];
        const take = (part: Buffer) => {
          for (const line of lines.of(part)) {
            const parsed = parseLine(line);
            read.push(Array.from({ length: parsed.spans.length / 2 }, (_, i) => textOf(parsed, i)));
          }
          part.fill(0);
        };
        let at = 0;
        for (const cut of cuts) take(bytes.subarray(at, (at += cut)));
        take(bytes.subarray(at));
        expect(read).toEqual(wanted);
      }),
    );
  });
});

describe('the seam', () => {
  test('keeps what a chunk does not see, and forgets the rest', () => {
    const seam = new Seam();
    seam.note(5, 'U', ['a']);
    seam.note(7, 'D', ['b']);
    seam.note(7, 'I', ['b']);
    seam.read(new Visible('6:8:7'));
    seam.note(5, 'U', ['c']);
    seam.note(9, 'U', ['d']);
    const keys = ['a', 'b', 'c', 'd'];
    expect(keys.map((key) => [...seam.since(key)].join(''))).toEqual(['', 'DI', '', 'U']);
    seam.read(new Visible('10:10:'));
    expect(keys.map((key) => seam.since(key).size)).toEqual([0, 0, 0, 0]);
  });

  test('is spoilt by more than it can hold', () => {
    const seam = new Seam();
    seam.note(
      5,
      'U',
      Array.from({ length: 99_000 }, (_, i) => `${i}`),
    );
    expect(seam.isSpoilt).toBe(false);
    seam.note(
      6,
      'U',
      Array.from({ length: 2_000 }, (_, i) => `${i}`),
    );
    expect(seam.isSpoilt).toBe(true);
  });

  test('tells keys apart exactly, and takes both of a change of key', () => {
    expect(keyTexts([0, 1], { new: tuple('ab', 'c') })).not.toEqual(
      keyTexts([0, 1], { new: tuple('a', 'bc') }),
    );
    expect(keyTexts([0], { old: tuple('1', null), new: tuple('2', 'x') })).toEqual(['1', '2']);
    expect(keyTexts([0], { old: tuple('1', 'x'), new: tuple(UNCHANGED, 'y') })).toEqual(['1']);
  });
});

test('a setting names tables, those without a schema of public', () => {
  expect(parseSnapshotSetting(' test_schema.*  test b *.* a ')).toEqual([
    { schema: 'test_schema', tables: ['*'] },
    { schema: 'public', tables: ['a', 'b', 'test'] },
    { schema: '*', tables: ['*'] },
  ]);
  for (const wrong of ['a.b.c', '.a', 'a.', '.']) {
    expect(() => parseSnapshotSetting(wrong)).toThrow(`"${wrong}" is not the name of a table`);
  }
});

test('the bar shows how far it is, and is full when all is done', () => {
  const table = { request: 1, schema: 'app', table: 'a', reason: null, percent: 25 };
  const half = { ...table, state: 'running', rows: 50, estimated: 200 };
  const full = { ...table, state: 'done', rows: 50, estimated: 20 };
  expect(barOf([half])).toBe('[######------------------]  25 %  50 of 200 rows  app.a: running');
  expect(barOf([full])).toBe('[########################] 100 %  50 of 50 rows  app.a: done');
  expect(barOf([{ ...half, rows: 500 }])).toContain(' 99 %  500 of 500 rows');
});

describe('the statement that reads rows', () => {
  beforeAll(loadModule);

  const keyColumn = (name: string, type: string, of = 'pg_catalog'): KeyColumn => ({
    name,
    type,
    compared: type,
    less: `operator(${of}.<)`,
    equal: `operator(${of}.=)`,
    greater: `operator(${of}.>)`,
    signature: `${name} ${type}`,
  });
  const columns = ['n', 'k"', 'v'].map((name) => ({
    name,
    typeOid: 25,
    typmod: -1,
    identity: true,
  }));
  const statement = (key: readonly KeyColumn[]) => {
    const relation = { tag: 'relation', oid: 1, schema: 'app', name: 't', replicaIdentity: 'd' };
    const shape = {
      snapshot: '',
      kind: 'r',
      key,
      streamedType: () => undefined,
      relation: { ...relation, tag: 'relation', columns },
    } as const;
    return selectRows(shape, key.length > 0 ? { after: ["it's", '\\'], limit: 9 } : undefined);
  };
  const number = keyColumn('n', 'pg_catalog.int4');

  test.each([
    ['without a key', []],
    ['by a key', [number]],
    ['by a key of several columns', [number, keyColumn('k"', 'pg_catalog.text')]],
    ['by a key with orders of several schemas', [number, keyColumn('k"', 'ext.citext', 'ext')]],
  ])('%s leaves no name to the search_path', (_, key) => {
    expect(unqualified(statement(key))).toEqual([]);
  });

  test('compares a key as a whole where that can be said', () => {
    expect(statement([number, keyColumn('k"', 'pg_catalog.text')])).toContain(
      `where (t."n"::pg_catalog.int4,t."k"""::pg_catalog.text) operator(pg_catalog.>) (`,
    );
  });
});
