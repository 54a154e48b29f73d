/** A look at what a slot is going to send, while nobody reads it. */
import type { Sql } from 'postgres';
import { parseLsn, type Lsn } from '../replication/lsn.js';
import { createScratch, decode, type Relation } from '../replication/pgoutput.js';
import type { OutputPlugin } from '../replication/plugin.js';
import { record } from '../replication/tuple.js';
import { cellSize, Line } from '../replication/wal2json-line.js';
import { tableList, wal2jsonOptions } from '../replication/wal2json-options.js';
import { arrayLiteral } from './array-literal.js';

export interface SlotName {
  readonly slotName: string;
  readonly plugin: OutputPlugin;
}

export interface Ahead {
  /** Ids of `pgstream.subscription_changes`. */
  readonly subscriptionChanges: ReadonlySet<string>;
  /** The first version of each schema. */
  readonly firstVersions: ReadonlyMap<string, bigint>;
}

/** A row of one of our tables that lies ahead, as texts by column name. */
type Note = (table: string, row: Readonly<Record<string, string | null>>) => void;

const messagesAtOnce = 100;

/**
 * The changes that are committed behind `position`: all those that were visible before this call. The
 * slot may be confirmed less far.
 */
export async function changesAhead(sql: Sql, slot: SlotName, position: Lsn): Promise<Ahead> {
  await flushLog(sql);
  const subscriptionChanges = new Set<string>();
  const firstVersions = new Map<string, bigint>();
  const look = slot.plugin === 'wal2json' ? peekWal2json : peekPgoutput;
  await look(sql, slot.slotName, position, (table, row) => {
    if (table === 'subscription_changes') subscriptionChanges.add(row['id']!);
    if (table !== 'schema_log') return;
    const schema = row['schema_name']!;
    if (!firstVersions.has(schema)) firstVersions.set(schema, BigInt(row['version']!));
  });
  return { subscriptionChanges, firstVersions };
}

async function peekPgoutput(sql: Sql, slot: string, position: Lsn, note: Note): Promise<void> {
  const relations = new Map<number, Relation>();
  const scratch = createScratch();
  let isAhead = false;
  const messages = sql<{ data: Buffer }[]>`
    select data from pg_logical_slot_peek_binary_changes(
      ${slot}, null, null, 'proto_version', '1', 'publication_names', 'pgstream_control')`;
  for await (const rows of messages.cursor(messagesAtOnce)) {
    for (const { data } of rows) {
      const message = decode(data, 0, data.length, scratch);
      if (message.tag === 'begin') isAhead = message.finalLsn >= position;
      if (message.tag === 'relation') relations.set(message.oid, message);
      if (message.tag !== 'insert' || !isAhead) continue;
      const relation = relations.get(message.relation)!;
      note(relation.name, record(relation, message.new));
    }
  }
}

async function peekWal2json(sql: Sql, slot: string, position: Lsn, note: Note): Promise<void> {
  const line = new Line();
  const tables = ['subscription_changes', 'schema_log'].map((table) => ({
    schema: 'pgstream',
    table,
  }));
  const options = wal2jsonOptions({ 'add-tables': tableList(tables) });
  let isAhead = false;
  const lines = sql<{ data: string }[]>`
    select data from pg_logical_slot_peek_changes(
      ${slot}, null, null, variadic ${arrayLiteral(Object.entries(options).flat())}::text[])`;
  for await (const rows of lines.cursor(messagesAtOnce)) {
    for (const { data } of rows) {
      const bytes = Buffer.from(data);
      line.open(bytes, 0, bytes.length);
      if (line.action === 'B') isAhead = parseLsn(line.lsn) >= position;
      if (line.action !== 'I' || !isAhead) continue;
      line.finish();
      note(line.table, rowOf(line));
    }
  }
}

function rowOf(line: Line): Record<string, string | null> {
  const { numbers } = line.columns!;
  return Object.fromEntries(
    Array.from({ length: numbers.length / cellSize }, (_, i) => {
      const [nameStart, nameEnd, , start, end] = numbers.slice(cellSize * i);
      return [
        line.text(nameStart!, nameEnd!),
        start! < 0 ? null : line.text(start!, end!),
      ] as const;
    }),
  );
}

/** A row is visible before its commit is flushed, but decoding stops at what is flushed. */
async function flushLog(sql: Sql): Promise<void> {
  await sql`
    select set_config('synchronous_commit', 'local', true),
      pg_logical_emit_message(true, 'pgstream', '')`;
}
