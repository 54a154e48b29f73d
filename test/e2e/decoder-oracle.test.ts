/**
 * The bytes of a real slot, read by our decoder and by that of another project: they say the same.
 */
import { createHash } from 'node:crypto';
import { PgoutputPlugin, type Pgoutput } from 'pg-logical-replication';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseLsn } from '../../src/replication/lsn.js';
import {
  decode,
  UNCHANGED,
  type Message,
  type Relation,
  type Tuple,
} from '../../src/replication/pgoutput.js';
import { textOf } from '../../src/replication/tuple.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { literal, tableStory, typeColumns } from '../helpers/type-tables.js';
import { typeDefinitions } from '../helpers/type-values.js';

const slot = 'captured_slot';

/** Microseconds from 1970 to 2000: theirs counts from the one, Postgres from the other. */
const sinceUnixEpoch = 946_684_800_000_000n;

const big = Array.from({ length: 99 }, (_, i) => createHash('sha512').update(`${i}`).digest('hex'));

const steps = [
  `create table app.by_default (id bigint primary key, v text, big text)`,
  `insert into app.by_default values (1, null, ${literal(big.join(''))}), (2, '', 'é😀')`,
  `update app.by_default set v = 'a'`,
  `update app.by_default set id = id + 10`,
  `alter table app.by_default replica identity full`,
  `update app.by_default set v = 'b'`,
  `update app.by_default set id = id + 10, big = null where id = 12`,
  `delete from app.by_default where id = 11`,
  `create table app.by_index (id bigint, code text not null unique, v text)`,
  `alter table app.by_index replica identity using index by_index_code_key`,
  `insert into app.by_index values (1, 'a', 'x'), (2, 'b', null)`,
  `update app.by_index set v = v || '!'`,
  `update app.by_index set code = code || '!'`,
  `delete from app.by_index where id = 1`,
  `truncate app.by_default, app.by_index restart identity`,
  `truncate app.by_index cascade`,
  `alter table app.by_index add column late app.pair, drop column v`,
  `insert into app.by_index values (1, 'c', '(1,x,,)')`,
  `insert into app.by_index values (3, 'd'); select pg_logical_emit_message(true, 'p', 'é');
   insert into app.by_index values (4, 'e')`,
];

let database: TestDatabase;
let captured: Buffer[];

beforeAll(async () => {
  database = await createDatabase({ template: false });
  const { sql } = database;
  await sql.unsafe(typeDefinitions);
  await sql`create publication everything for all tables`;
  await sql`select pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
  for (const [group, columns] of await typeColumns(sql)) {
    const table = `app."${group}"`;
    for (const step of tableStory(table, 'default', columns)) await sql.unsafe(step);
  }
  for (const step of steps) await sql.unsafe(step);
  const rows = await sql<{ data: Buffer }[]>`
    select data from pg_logical_slot_get_binary_changes(${slot}, null, null,
      'proto_version', '1', 'publication_names', 'everything', 'messages', 'true')`;
  captured = rows.map(({ data }) => data);
});

afterAll(() => database?.drop());

/** A row as texts by column name; undefined for a value that was not sent. */
type Row = Record<string, string | null | undefined>;

function rowOf(relation: Relation, tuple: Tuple): Row {
  return Object.fromEntries(
    relation.columns.map(({ name }, i) => [
      name,
      tuple.spans[2 * i] === UNCHANGED ? undefined : textOf(tuple, i),
    ]),
  );
}

/** What our decoder says, in words that both share. */
function ours(messages: readonly Message[]): unknown[] {
  const relations = new Map<number, Relation>();
  const change = (message: { relation: number; old?: Tuple | undefined; new?: Tuple }) => {
    const relation = relations.get(message.relation)!;
    const old = message.old && rowOf(relation, message.old);
    const row = message.new && rowOf(relation, message.new);
    if (relation.replicaIdentity === 'f') {
      // Theirs fills what was not sent from the old row, while decoding.
      for (const [name, value] of Object.entries(row ?? {})) {
        if (value === undefined) row![name] = old?.[name];
      }
    } else {
      // Theirs leaves out of an old key what is not part of it.
      for (const { name, identity } of relation.columns) if (!identity) delete old?.[name];
    }
    return { table: relation.name, old, new: row };
  };
  return messages.map((message) => {
    switch (message.tag) {
      case 'begin':
        return { tag: 'begin', lsn: message.finalLsn, time: message.commitTime, xid: message.xid };
      case 'commit':
        return { tag: 'commit', lsn: message.commitLsn, end: message.endLsn };
      case 'relation': {
        relations.set(message.oid, message);
        const { oid, schema, name, replicaIdentity, columns } = message;
        return { tag: 'relation', oid, schema, name, replicaIdentity, columns };
      }
      case 'type':
        return message;
      case 'insert':
      case 'update':
      case 'delete':
        return { tag: message.tag, ...change(message) };
      case 'truncate':
        return {
          tag: 'truncate',
          tables: message.relations.map((oid) => relations.get(oid)!.name),
        };
      case 'origin':
      case 'message':
        return { tag: message.tag };
    }
  });
}

/** What theirs says. */
function theirs(messages: readonly Buffer[]): unknown[] {
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: ['everything'] });
  return messages.map((bytes) => {
    const message = plugin.parse(bytes) as Pgoutput.Message;
    switch (message.tag) {
      case 'begin':
        return {
          tag: 'begin',
          lsn: parseLsn(message.commitLsn!),
          time: message.commitTime.valueOf() - sinceUnixEpoch,
          xid: message.xid,
        };
      case 'commit':
        return {
          tag: 'commit',
          lsn: parseLsn(message.commitLsn!),
          end: parseLsn(message.commitEndLsn!),
        };
      case 'relation':
        // Values stay the texts that they are.
        for (const column of message.columns) column.parser = String;
        return {
          tag: 'relation',
          oid: message.relationOid,
          schema: message.schema,
          name: message.name,
          replicaIdentity: message.replicaIdentity[0],
          columns: message.columns.map(({ name, typeOid, typeMod, flags }) => ({
            name,
            typeOid,
            typmod: typeMod,
            identity: flags === 1,
          })),
        };
      case 'type':
        return {
          tag: 'type',
          oid: message.typeOid,
          schema: message.typeSchema || 'pg_catalog',
          name: message.typeName,
        };
      case 'insert':
        return change(message, null, message.new);
      case 'update':
        return change(message, message.key ?? message.old, message.new);
      case 'delete':
        return change(message, message.key ?? message.old);
      case 'truncate':
        return { tag: 'truncate', tables: message.relations.map(({ name }) => name) };
      case 'origin':
      case 'message':
        return { tag: message.tag };
    }
  });
}

const change = (
  { tag, relation }: { tag: string; relation: Pgoutput.MessageRelation },
  old: Row | null,
  row?: Row,
) => ({ tag, table: relation.name, old: old ? { ...old } : undefined, new: row && { ...row } });

test('every message of a slot is read alike', () => {
  const mine = ours(captured.map((bytes) => decode(bytes)));
  const other = theirs(captured);
  for (const [i, message] of other.entries()) expect(mine[i], `message ${i}`).toEqual(message);
  expect(mine).toHaveLength(captured.length);
});

test('the slot had messages of every kind', () => {
  const kinds = new Set(captured.map((bytes) => String.fromCharCode(bytes[0]!)));
  expect(Array.from(kinds).sort().join('')).toBe('BCDIMRTUY');
});

test('a decoded message refers to its bytes and does not change them', () => {
  const copies = captured.map((bytes) => Buffer.from(bytes));
  for (const bytes of captured) decode(bytes);
  expect(Buffer.concat(captured).equals(Buffer.concat(copies))).toBe(true);
});
