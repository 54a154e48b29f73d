import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode, NULL, UNCHANGED, type Tuple } from '../../src/replication/pgoutput.js';
import { record, textOf } from '../../src/replication/tuple.js';
import * as bytes from '../helpers/pgoutput-bytes.js';
import { newRow, oldKey, oldRow, unchanged, type Value } from '../helpers/pgoutput-bytes.js';
import { anyText } from '../helpers/random-values.js';

const undecodable = expect.objectContaining({
  name: 'PgstreamError',
  code: 'undecodable_message',
  hint: expect.stringContaining('pgoutput'),
});

const users = {
  oid: 16_471,
  schema: 'public',
  name: 'users',
  replicaIdentity: 'd',
  columns: [
    { name: 'id', typeOid: 20, key: true },
    { name: 'name', typeOid: 1043, typmod: 24 },
    { name: 'avatar', typeOid: 17 },
  ],
};

/** What a decoded row says, in the words that the bytes were built with. */
const valuesOf = (tuple: Tuple): Value[] =>
  Array.from({ length: tuple.spans.length / 2 }, (_, i) =>
    tuple.spans[2 * i] === UNCHANGED ? unchanged : textOf(tuple, i),
  );

function decodeAs<Tag extends ReturnType<typeof decode>['tag']>(tag: Tag, message: Buffer) {
  const decoded = decode(message);
  expect(decoded.tag).toBe(tag);
  return decoded as Extract<ReturnType<typeof decode>, { tag: Tag }>;
}

describe('the decoder reads', () => {
  test('the begin of a transaction, with positions and times beyond 32 bits', () => {
    expect(decode(bytes.begin(0xffff_ffff_0000_0001n - (1n << 64n), -1n, 0xffff_ffff))).toEqual({
      tag: 'begin',
      finalLsn: 0xffff_ffff_0000_0001n,
      commitTime: -1n,
      xid: 0xffff_ffff,
    });
  });

  test('the commit of a transaction', () => {
    expect(decode(bytes.commit(0x15a5c70n, 0x15a5ca0n, 1n))).toEqual({
      tag: 'commit',
      commitLsn: 0x15a5c70n,
      endLsn: 0x15a5ca0n,
    });
  });

  test('a relation, with its replica identity and the type modifiers of its columns', () => {
    expect(decode(bytes.relation(users))).toEqual({
      tag: 'relation',
      oid: 16_471,
      schema: 'public',
      name: 'users',
      replicaIdentity: 'd',
      columns: [
        { name: 'id', typeOid: 20, typmod: -1, identity: true },
        { name: 'name', typeOid: 1043, typmod: 24, identity: false },
        { name: 'avatar', typeOid: 17, typmod: -1, identity: false },
      ],
    });
  });

  test('an empty schema as pg_catalog, and a table without columns', () => {
    const empty = { ...users, schema: '', replicaIdentity: 'n', columns: [] };
    expect(decode(bytes.relation(empty))).toMatchObject({
      schema: 'pg_catalog',
      replicaIdentity: 'n',
      columns: [],
    });
  });

  test('oids beyond two thousand million', () => {
    const oid = 4_294_967_295;
    const big = { ...users, oid, columns: [{ name: 'v', typeOid: oid }] };
    expect(decode(bytes.relation(big))).toMatchObject({ oid, columns: [{ typeOid: oid }] });
    expect(decode(bytes.insert(oid, newRow('1')))).toMatchObject({ relation: oid });
    expect(decode(bytes.truncate(0, oid))).toEqual({ tag: 'truncate', relations: [oid] });
  });

  test('the name of a type', () => {
    expect(decode(bytes.type(16_480, 'app', 'mood'))).toEqual({
      tag: 'type',
      oid: 16_480,
      schema: 'app',
      name: 'mood',
    });
    expect(decode(bytes.type(16_481, '', 'int4'))).toMatchObject({ schema: 'pg_catalog' });
  });

  test('an insert, telling an empty text from null', () => {
    const decoded = decodeAs('insert', bytes.insert(users.oid, newRow('1', '', null)));
    expect(decoded.relation).toBe(users.oid);
    expect(valuesOf(decoded.new)).toEqual(['1', '', null]);
    expect(decoded.new.spans.slice(4)).toEqual([NULL, NULL]);
  });

  test('an update whose key is unchanged, with a TOASTed value that was not sent', () => {
    const decoded = decodeAs('update', bytes.update(users.oid, newRow('1', 'é😀', unchanged)));
    expect(decoded.old).toBeUndefined();
    expect(valuesOf(decoded.new)).toEqual(['1', 'é😀', unchanged]);
    expect(textOf(decoded.new, 2)).toBeNull();
  });

  test('an update with the old key, and one with the whole old row', () => {
    const keyed = bytes.update(users.oid, newRow('2', 'b', null), oldKey('1', null, null));
    expect(valuesOf(decodeAs('update', keyed).old!)).toEqual(['1', null, null]);
    expect(valuesOf(decodeAs('update', keyed).new)).toEqual(['2', 'b', null]);
    const full = bytes.update(users.oid, newRow('1', 'b', unchanged), oldRow('1', 'a', 'ff'));
    expect(valuesOf(decodeAs('update', full).old!)).toEqual(['1', 'a', 'ff']);
    expect(valuesOf(decodeAs('update', full).new)).toEqual(['1', 'b', unchanged]);
  });

  test('a delete by its key and by its whole row', () => {
    const keyed = decodeAs('delete', bytes.del(users.oid, oldKey('1', null, null)));
    expect(valuesOf(keyed.old)).toEqual(['1', null, null]);
    const full = decodeAs('delete', bytes.del(users.oid, oldRow('1', 'a', null)));
    expect(valuesOf(full.old)).toEqual(['1', 'a', null]);
  });

  test('a truncate of several tables, whatever its options', () => {
    for (const options of [0, 1, 2, 3]) {
      const relations = [16_471, 16_480, 7];
      expect(decode(bytes.truncate(options, ...relations))).toEqual({ tag: 'truncate', relations });
    }
  });

  test('that there is an origin or a logical message', () => {
    expect(decode(bytes.origin(1n, 'other'))).toEqual({ tag: 'origin' });
    expect(decode(bytes.message(1, 1n, 'p', Buffer.from('x')))).toEqual({ tag: 'message' });
  });

  test('a row as a record by column name', () => {
    const decoded = decodeAs('insert', bytes.insert(users.oid, newRow('1', 'a', null)));
    const relation = decodeAs('relation', bytes.relation(users));
    expect(record(relation, decoded.new)).toEqual({ id: '1', name: 'a', avatar: null });
  });

  test('every row that can be built, value for value', () => {
    const value = fc.oneof(anyText(), fc.constant(null), fc.constant(unchanged));
    const row = fc.array(value, { maxLength: 8 });
    fc.assert(
      fc.property(row, row, (before, after) => {
        const decoded = decodeAs('update', bytes.update(1, newRow(...after), oldRow(...before)));
        expect(valuesOf(decoded.old!)).toEqual(before);
        expect(valuesOf(decoded.new)).toEqual(after);
      }),
    );
  });
});

const samples = {
  begin: bytes.begin(1n, 2n, 3),
  commit: bytes.commit(1n, 2n, 3n),
  relation: bytes.relation(users),
  type: bytes.type(16_480, 'app', 'mood'),
  insert: bytes.insert(users.oid, newRow('1', 'alice', null)),
  'update without an old row': bytes.update(users.oid, newRow('1', 'alice', unchanged)),
  'update with an old key': bytes.update(users.oid, newRow('2', null, 'x'), oldKey('1')),
  delete: bytes.del(users.oid, oldRow('1', 'alice', null)),
  truncate: bytes.truncate(1, 16_471, 16_480),
};

/** Decodes, or refuses in the one way that is allowed. */
function decodesOrRefuses(message: Buffer): void {
  try {
    decode(message);
  } catch (error) {
    expect(error).toEqual(undecodable);
  }
}

describe('the decoder refuses', () => {
  // The time at the end of a commit is not read: that of the begin is.
  const unread: Record<string, number> = { commit: 8 };

  test.each(Object.entries(samples))('a %s that is cut short anywhere', (name, message) => {
    for (let length = 0; length < message.length - (unread[name] ?? 0); length++) {
      expect(() => decode(message.subarray(0, length)), `${length} bytes`).toThrow(undecodable);
    }
  });

  test.each([
    ['no bytes', ''],
    ['an unknown kind of message', 'Z\0\0\0\0'],
    ['an insert without a row', 'I\0\0\0\x01K\0\0'],
    ['an update with a row of unknown kind', 'U\0\0\0\x01X\0\0'],
    ['an update with an old row only', 'U\0\0\0\x01O\0\0'],
    ['a delete with a new row', 'D\0\0\0\x01N\0\0'],
    ['a value in binary', 'I\0\0\0\x01N\0\x01b\0\0\0\x01x'],
    ['a value longer than the message', 'I\0\0\0\x01N\0\x01t\xff\xff\xff\xffx'],
    ['a truncate of more tables than the message holds', 'T\xff\xff\xff\xff\0\0\0\0\x01'],
  ])('%s', (_, message) => {
    expect(() => decode(Buffer.from(message, 'latin1'))).toThrow(undecodable);
  });

  test('or reads any bytes at all, and throws nothing else', () => {
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .tuple(fc.constantFrom(...Buffer.from('BCRYIUDTOM')), fc.uint8Array({ maxLength: 200 }))
        .map(([letter, rest]) => Uint8Array.from([letter, ...rest])),
    );
    fc.assert(
      fc.property(message, (array) => decodesOrRefuses(Buffer.from(array))),
      { numRuns: 1_000 },
    );
  });

  test(
    'or reads a message with any bytes changed, and throws nothing else',
    { timeout: 30_000 },
    () => {
      const change = fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) });
      fc.assert(
        fc.property(
          fc.constantFrom(...Object.values(samples)),
          fc.array(change, { minLength: 1, maxLength: 4 }),
          (sample, changes) => {
            const message = Buffer.from(sample);
            for (const { at, to } of changes) message[at % message.length] = to;
            decodesOrRefuses(message);
          },
        ),
        { numRuns: 1_000 },
      );
    },
  );
});
