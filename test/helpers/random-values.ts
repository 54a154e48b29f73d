/** Random values of many types, as texts that Postgres reads. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';

/** Schema and types that the types below refer to. */
export const randomTypeDefinitions = `
  create schema "odd ""schema";
  create type "odd ""schema"."odd type" as enum ('a', 'b "c"', '\\d');
  create type pair as (n numeric, t text);
  create domain even as bigint check (value % 2 = 0);
  create domain bytes as bytea;
`;

/** Any text of whole characters, of one byte as often as of several. */
export const anyText = (maxLength = 20): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof(fc.nat(0x7f), fc.nat(0xd7ff), fc.integer({ min: 0xe000, max: 0x10_ffff })), {
      maxLength,
    })
    .map((codes) => String.fromCodePoint(...codes));

/** Postgres does not store NUL. */
export const storableText = (maxLength?: number): fc.Arbitrary<string> =>
  anyText(maxLength).map((value) => value.replaceAll('\0', ''));

const text = storableText();

const quoted = (value: string) => `"${value.replaceAll(/["\\]/g, '\\$&')}"`;

const listOf = (element: fc.Arbitrary<string>) =>
  fc
    .array(fc.option(element), { maxLength: 4 })
    .map((values) => `{${values.map((one) => (one === null ? 'NULL' : quoted(one))).join()}}`);

const integer = (bits: bigint) =>
  fc.bigInt({ min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n }).map(String);

const digits = fc.string({ unit: fc.constantFrom(...Array.from('0123456789')), maxLength: 40 });

const numeric = fc.oneof(
  fc
    .record({ minus: fc.boolean(), whole: digits, part: digits, power: fc.integer(power(60)) })
    .map(({ minus, whole, part, power: e }) => `${minus ? '-' : ''}0${whole}.${part}0e${e}`),
  fc.constantFrom('NaN', 'Infinity', '-Infinity'),
);

function power(most: number) {
  return { min: -most, max: most };
}

const moment = fc
  .record({
    date: fc.date({
      min: new Date('0001-01-02T00:00:00Z'),
      max: new Date('9999-12-30T00:00:00Z'),
      noInvalidDate: true,
    }),
    micros: fc.nat(999),
  })
  .map(({ date, micros }) => {
    const era = date.toISOString();
    return `${era.slice(0, 10)} ${era.slice(11, 23)}${String(micros).padStart(3, '0')}`;
  });

const interval = fc
  .tuple(
    fc.integer(power(9_999)),
    fc.integer(power(99)),
    fc.integer(power(1e6)),
    fc.maxSafeInteger(),
  )
  .map(([y, m, d, us]) => `${y} years ${m} mons ${d} days ${(us % 1e15) / 1e6} seconds`);

const bytes = fc
  .uint8Array({ maxLength: 40 })
  .map((value) => `\\x${Buffer.from(value).toString('hex')}`);

/** Too long for its row, and nothing that compresses. */
const long = fc.nat().map((seed) => {
  let value = '';
  for (let i = 0; i < 80; i++)
    value += createHash('sha256').update(`${seed} ${i}`).digest('base64');
  return value;
});

const json = fc.json({ noUnicodeString: false }).filter((value) => !value.includes('\\u0000'));
const wellFormedJson = json.map((value) => value.replaceAll(/\\u[dD][89a-fA-F]../g, 'x'));

/** By their names in SQL. */
export const randomTypes: Record<string, fc.Arbitrary<string>> = {
  smallint: integer(16n),
  integer: integer(32n),
  bigint: integer(64n),
  oid: fc.nat(4_294_967_295).map(String),
  numeric,
  'numeric(30,8)': fc.bigInt({ min: -(10n ** 21n), max: 10n ** 21n }).map((n) => `${n}.123456789`),
  real: fc.float().map(number),
  'double precision': fc.double().map(number),
  boolean: fc.boolean().map(String),
  text,
  'character varying(8)': text,
  'character(7)': text,
  name: text,
  '"char"': fc.string({ maxLength: 1 }),
  bytea: bytes,
  date: fc.oneof(
    moment.map((value) => value.slice(0, 10)),
    fc.constant('-infinity'),
  ),
  'timestamp without time zone': moment,
  'timestamp with time zone': fc.oneof(
    moment.map((value) => `${value}+05:30`),
    fc.constant('infinity'),
  ),
  'timestamp(2) with time zone': moment.map((value) => `${value}-03`),
  'time with time zone': moment.map((value) => `${value.slice(11)}-12:34`),
  interval,
  uuid: fc.uuid(),
  inet: fc.oneof(fc.ipV4(), fc.ipV6()),
  json,
  jsonb: wellFormedJson,
  'bit varying(70)': fc
    .bigInt({ min: 0n, max: (1n << 64n) - 1n })
    .map((value) => value.toString(2)),
  point: fc.tuple(fc.double(), fc.double()).map(([x, y]) => `(${number(x)},${number(y)})`),
  numrange: fc.tuple(fc.nat(), fc.nat()).map(([low, size]) => `(${low}.50,${low + size + 1}]`),
  'text[]': listOf(text),
  'numeric[]': listOf(numeric),
  'bytea[]': listOf(bytes),
  'interval[]': listOf(interval),
  '"odd ""schema"."odd type"': fc.constantFrom('a', 'b "c"', '\\d'),
  '"odd ""schema"."odd type"[]': listOf(fc.constantFrom('a', 'b "c"', '\\d')),
  pair: fc.tuple(numeric, text).map(([n, t]) => `(${n},${quoted(t)})`),
  even: integer(60n).map((value) => String(BigInt(value) * 2n)),
  bytes,
  'text collate "C"': long,
};

/** A number as JavaScript writes it, which has no sign for zero. */
function number(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}
