import { describe, expect, test } from 'vitest';
import { parseTimestamp, formatTimestamp } from '../../src/replication/timestamp.js';
import type { Message, Relation } from '../../src/replication/pgoutput.js';
import { textOf } from '../../src/replication/tuple.js';
import { Wal2jsonDecoder } from '../../src/replication/wal2json.js';
import { tableList } from '../../src/replication/wal2json-options.js';
import type { StreamedTable, TableFinder } from '../../src/replication/wal2json-tables.js';

const table = (oid: number, name: string): StreamedTable => {
  const columns = [
    { name: 'id', typeOid: 23, typmod: -1, identity: true },
    { name: 'v', typeOid: 25, typmod: -1, identity: false },
  ];
  return {
    relation: { tag: 'relation', oid, schema: 's', name, replicaIdentity: 'd', columns },
    isPartition: false,
    isFull: false,
    columns: columns.map((column, place) => ({
      name: Buffer.from(column.name),
      typeOid: column.typeOid,
      identity: column.identity,
      place,
    })),
  };
};

/** A decoder that is told which tables there are, and what it has handed over, as short texts. */
function open(tables: Record<string, StreamedTable>) {
  const place = { tables, versionsEpoch: 1, wantedEpoch: 1 };
  const finder: TableFinder = {
    get versionsEpoch() {
      return place.versionsEpoch;
    },
    get wantedEpoch() {
      return place.wantedEpoch;
    },
    isUnwanted: (_, name) => !(name in place.tables),
    find: async ({ name }) => place.tables[name],
  };
  const decoder = new Wal2jsonDecoder(finder);
  const relations = new Map<number, Relation>();
  const said: string[] = [];
  const take = (message: Message) => {
    said.push(tell(message, relations));
    return undefined;
  };
  const read = async (lsn: number, line: object) => {
    const header = Buffer.alloc(25);
    header.writeBigUInt64BE(BigInt(lsn), 1);
    const bytes = Buffer.concat([header, Buffer.from(JSON.stringify(line))]);
    await decoder.decode(bytes, 0, bytes.length, take);
  };
  const begin = (lsn: string) =>
    read(0, { action: 'B', xid: 1, timestamp: '2026-01-02 03:04:05+00', lsn, nextlsn: lsn });
  const commit = (lsn: string) => read(0, { action: 'C', lsn, nextlsn: lsn });
  const cells = (row: Record<string, unknown>) =>
    Object.entries(row).map(([name, value]) => ({ name, typeoid: name === 'id' ? 23 : 25, value }));
  const insert = (lsn: number, name: string, id: number) =>
    read(lsn, { action: 'I', schema: 's', table: name, columns: cells({ id, v: 'x' }) });
  const update = (lsn: number, name: string, row: object, identity: object) =>
    read(lsn, {
      action: 'U',
      schema: 's',
      table: name,
      columns: cells({ ...row }),
      identity: cells({ ...identity }),
    });
  return { place, decoder, said, read, begin, commit, insert, update };
}

function tell(message: Message, relations: Map<number, Relation>): string {
  switch (message.tag) {
    case 'relation':
      relations.set(message.oid, message);
      return `relation ${message.name}`;
    case 'insert':
      return `I ${relations.get(message.relation)!.name} ${textOf(message.new, 0)}`;
    case 'update':
      return `U ${textOf(message.new, 0)} ${message.old ? textOf(message.old, 0) : 'same key'}`;
    case 'truncate':
      return `T ${message.relations.join()}`;
    default:
      return message.tag;
  }
}

describe('the decoder of wal2json', () => {
  test('describes a table before its first change, and tells an old key only where it has changed', async () => {
    const { said, begin, commit, insert, update } = open({ a: table(1, 'a') });
    await begin('0/10');
    await insert(1, 'a', 1);
    await insert(2, 'unwanted', 1);
    await update(3, 'a', { id: 1 }, { id: 1 });
    await update(4, 'a', { id: 2, v: 'y' }, { id: 1 });
    await commit('0/10');
    expect(said).toEqual(['begin', 'relation a', 'I a 1', 'U 1 same key', 'U 2 1', 'commit']);
  });

  test('tells the same changes when a transaction is read again, though names have moved since', async () => {
    const { place, decoder, said, begin, insert, commit } = open({ a: table(1, 'a') });
    const whole = async () => {
      await begin('0/10');
      await insert(1, 'other', 1);
      await insert(2, 'a', 1);
      await insert(3, 'a', 2);
    };
    const moved = async () => {
      await insert(5, 'b', 3);
      await insert(6, 'a', 4);
    };
    await whole();
    // a is renamed to b, and another table takes its name.
    place.tables = { a: table(2, 'a again'), b: table(1, 'b'), other: table(3, 'other') };
    place.versionsEpoch++;
    await moved();
    const first = said.splice(0);
    for (let i = 0; i < 2; i++) {
      decoder.interrupted();
      await whole();
      said.length = 0;
    }
    decoder.interrupted();
    await whole();
    await moved();
    await insert(7, 'other', 5);
    await commit('0/10');
    expect(said).toEqual([...first, 'relation other', 'I other 5', 'commit']);
  });

  test('finds a table anew when its description has changed, and refuses what fits none', async () => {
    const { place, said, begin, insert, read } = open({ a: table(1, 'a') });
    await begin('0/10');
    await insert(1, 'a', 1);
    place.tables = { a: table(1, 'a, changed') };
    await insert(2, 'a', 2);
    place.versionsEpoch++;
    await insert(3, 'a', 3);
    expect(said.slice(1)).toEqual([
      'relation a',
      'I a 1',
      'I a 2',
      'relation a, changed',
      'I a, changed 3',
    ]);
    const odd = {
      action: 'I',
      schema: 's',
      table: 'a',
      columns: [{ name: 'c', typeoid: 1, value: 1 }],
    };
    await expect(read(4, odd)).rejects.toMatchObject({ code: 'undecodable_message' });
  });
});

test('names in a list of tables are escaped', () => {
  expect(
    tableList([
      { schema: 'public', table: 'item' },
      { schema: `a b,c.d*e'f\\g"`, table: 'Öl😀\t' },
    ]),
  ).toBe(`public.item,a\\ b\\,c\\.d\\*e\\'f\\\\g\\".Öl😀\\\t`);
});

test('times of commits are read as they are printed', () => {
  for (const micros of [0n, 845_834_363_069_829n, -1n, 100_000n]) {
    expect(parseTimestamp(formatTimestamp(micros))).toBe(micros);
  }
  expect(() => parseTimestamp('2026-01-01 00:00:00+01')).toThrow(RangeError);
});
