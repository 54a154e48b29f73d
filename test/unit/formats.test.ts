import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Action } from '../../src/event/encode.js';
import { createEncoder } from '../../src/event/encoder.js';
import { JsonWriter } from '../../src/event/json-writer.js';
import type { SchemaDocument } from '../../src/event/schema-versions.js';
import { SchemaVersions } from '../../src/event/schema-versions.js';
import { expectCloudEvent } from '../helpers/cloud-event.js';
import {
  commit,
  examplesOf,
  formats,
  id,
  origin,
  relationOf,
  tuple,
} from '../helpers/format-examples.js';
import { blocksOf } from '../helpers/markdown.js';
import { unchanged, type Value } from '../helpers/pgoutput-bytes.js';
import { anyText } from '../helpers/random-values.js';

const rowFormats = formats.filter((format) => format !== 'pgstream');

test.each(formats)(
  'docs/formats.md shows every kind of event in format %s, byte for byte',
  async (format) => {
    const text = await readFile('docs/formats.md', 'utf8');
    const [, section = ''] = text.split(`\n## \`${format}\`\n`);
    const shown = blocksOf(section.split('\n## ')[0]!).map(({ code }) => code.trimEnd());
    expect(shown).toEqual(examplesOf(format).map(({ body }) => body));
  },
);

test('what is shown of CloudEvents has the attributes that the specification asks for', () => {
  for (const { body } of examplesOf('cloudevents')) {
    expectCloudEvent(JSON.parse(body) as Record<string, unknown>);
  }
});

/** Oids of types whose values are JSON of their own, and texts of them. */
const kinds = {
  bigint: [20, fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(String)],
  numeric: [
    1700,
    fc.tuple(fc.bigInt(), fc.nat()).map(([whole, part]) => `${whole}.${part}000000000000000000001`),
  ],
  text: [25, anyText()],
  jsonb: [3802, fc.json({ noUnicodeString: false })],
  json: [114, fc.json().map((value) => ` \n\t${value}\r\n`)],
} as const satisfies Record<string, readonly [number, fc.Arbitrary<string>]>;
type Type = keyof typeof kinds;

/** A body whose numbers are texts with a mark, so that no digit is lost. */
const parseExactly = (body: string) =>
  JSON.parse(
    body.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
      token.startsWith('"') ? token : JSON.stringify(`#${token}`),
    ),
  ) as unknown;

/** What a value is to be read as. */
function meant(type: Type, value: string): unknown {
  if (type === 'text') return value;
  return parseExactly(value);
}

interface Cell {
  name: string;
  type: Type;
  value: Value;
}

const cell: fc.Arbitrary<Cell> = fc
  .tuple(anyText(), fc.constantFrom(...(Object.keys(kinds) as Type[])))
  .chain(([name, type]) =>
    fc
      .oneof(
        { weight: 6, arbitrary: kinds[type][1] as fc.Arbitrary<Value> },
        fc.constant(null),
        fc.constant(unchanged),
      )
      .map((value) => ({ name: name.replaceAll('\0', ''), type, value })),
  );
const cells = fc.uniqueArray(cell, { maxLength: 6, selector: ({ name }) => name });

describe.each(rowFormats)('a row in format %s', (format) => {
  const encode = (given: Cell[], action: Action, schema = 'public', name = 't') => {
    const relation = relationOf(
      schema,
      name,
      Object.fromEntries(given.map((one) => [`_${one.name}`, kinds[one.type][0]])),
    );
    const encoder = createEncoder(format, { relation, types: given.map(() => 't') }, origin);
    const row = tuple(...given.map(({ value }) => value));
    const change = action === 'D' ? { action, old: row } : { action, new: row };
    return encoder.encode(new JsonWriter(), change, commit, '0/1', id).toBuffer().toString();
  };
  type Event = Record<string, Record<string, unknown>>;
  const rowOf = (event: Event) =>
    format === 'debezium' ? event['after'] : (event['data'] ?? event)['new'];

  test('gives back what was put in, every digit of it, and names what is not known', () => {
    fc.assert(
      fc.property(cells, (given) => {
        const event = parseExactly(encode(given, 'U')) as Event;
        const known = given.filter(({ value }) => value !== unchanged);
        const expected = known.map(({ name, type, value }) => [
          `_${name}`,
          value === null ? null : meant(type, value as string),
        ]);
        expect(rowOf(event)).toEqual(Object.fromEntries(expected));
        const missing = given.filter(({ value }) => value === unchanged);
        const holder = format === 'debezium' ? event : (event['data'] ?? event);
        expect(holder['unchanged']).toEqual(
          missing.length > 0 ? missing.map(({ name }) => `_${name}`) : undefined,
        );
      }),
      { numRuns: 500 },
    );
  });

  test('is JSON without control characters whatever the names are', () => {
    fc.assert(
      fc.property(cells, fc.constantFrom('I', 'U', 'D', 'T'), anyText(), anyText(), (...args) => {
        const [given, action, schema, name] = args;
        const body = encode(given, action as Action, `s${schema}`, `t${name}`);
        expect(Buffer.from(body).every((byte) => byte >= 0x20)).toBe(true);
        expect(() => JSON.parse(body) as unknown).not.toThrow();
      }),
      { numRuns: 500 },
    );
  });
});

test.each(rowFormats)('numbers that JSON has none for are strings in format %s', (format) => {
  const relation = relationOf('public', 't', { a: 701, b: 1700, c: 700, d: 701 });
  const encoder = createEncoder(format, { relation, types: [] }, origin);
  const row = tuple('NaN', 'Infinity', '-Infinity', '1e+300');
  const body = encoder.encode(new JsonWriter(), { action: 'I', new: row }, commit, '0/1', id);
  expect(body.toBuffer().toString()).toContain(
    '{"a":"NaN","b":"Infinity","c":"-Infinity","d":1e+300}',
  );
});

test('rows that were there before are read, not created, in format debezium', () => {
  const relation = relationOf('public', 't', { a: 20 });
  const encoder = createEncoder('debezium', { relation, types: [] }, origin);
  const change = { action: 'I', new: tuple('1') } as const;
  const body = encoder.encode(new JsonWriter(), change, commit, '0/0', id).toBuffer().toString();
  expect(JSON.parse(body)).toMatchObject({ op: 'r', source: { snapshot: 'true', lsn: 0 } });
});

test('metadata is what it is in format pgstream', () => {
  const versions = new SchemaVersions();
  const table = {
    oid: '1',
    name: 't',
    pgstream_id: 'cv9al8qhi0j00i9chq8g',
    primary_key_columns: ['a'],
    columns: [
      {
        name: 'a',
        pgstream_id: 'cv9al8qhi0j00i9chq8g-1',
        type: 'bigint',
        nullable: false,
        unique: true,
      },
    ],
  };
  const document: SchemaDocument = { tables: [table] };
  versions.apply('public', 'cv9al8qhi0j00i9chq80', document);
  const ids = versions.find('public', 1)!;
  const relation = relationOf('public', 't', { a: 20 });
  const metadata =
    ',"metadata":{"schema_id":"cv9al8qhi0j00i9chq80","table_pgstream_id":"cv9al8qhi0j00i9chq8g",' +
    '"id_col_pgstream_id":["cv9al8qhi0j00i9chq8g-1"],"version_col_pgstream_id":""}}';
  for (const format of formats) {
    const encoder = createEncoder(format, { relation, types: ['bigint'] }, origin, ids);
    const change = { action: 'I', new: tuple('1') } as const;
    const body = encoder.encode(new JsonWriter(), change, commit, '0/1', id).toBuffer().toString();
    expect(body).toContain(metadata);
  }
});
