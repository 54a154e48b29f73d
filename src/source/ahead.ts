/** A look at what a slot is going to send, while nobody reads it. */
import type { Sql } from 'postgres';
import type { Lsn } from '../replication/lsn.js';
import { createScratch, decode, type Relation } from '../replication/pgoutput.js';
import { textOf } from '../replication/tuple.js';

export interface Ahead {
  /** Ids of `pgstream.subscription_changes`. */
  readonly subscriptionChanges: ReadonlySet<string>;
  /** The first version of each schema. */
  readonly firstVersions: ReadonlyMap<string, bigint>;
}

const messagesAtOnce = 100;

/**
 * The changes that are committed behind `position`: all those that were visible before this call. The
 * slot may be confirmed less far.
 */
export async function changesAhead(sql: Sql, slot: string, position: Lsn): Promise<Ahead> {
  await flushLog(sql);
  const relations = new Map<number, Relation>();
  const subscriptionChanges = new Set<string>();
  const firstVersions = new Map<string, bigint>();
  const scratch = createScratch();
  let isAhead = false;
  const note = (data: Buffer) => {
    const message = decode(data, 0, data.length, scratch);
    if (message.tag === 'begin') isAhead = message.finalLsn >= position;
    if (message.tag === 'relation') relations.set(message.oid, message);
    if (message.tag !== 'insert' || !isAhead) return;
    const relation = relations.get(message.relation);
    const value = (column: string) =>
      textOf(
        message.new,
        relation!.columns.findIndex(({ name }) => name === column),
      ) ?? '';
    if (relation?.name === 'subscription_changes') subscriptionChanges.add(value('id'));
    if (relation?.name !== 'schema_log') return;
    const schema = value('schema_name');
    if (!firstVersions.has(schema)) firstVersions.set(schema, BigInt(value('version')));
  };
  const messages = sql<{ data: Buffer }[]>`
    select data from pg_logical_slot_peek_binary_changes(
      ${slot}, null, null, 'proto_version', '1', 'publication_names', 'pgstream_control')`;
  for await (const rows of messages.cursor(messagesAtOnce)) {
    for (const { data } of rows) note(data);
  }
  return { subscriptionChanges, firstVersions };
}

/** A row is visible before its commit is flushed, but decoding stops at what is flushed. */
async function flushLog(sql: Sql): Promise<void> {
  await sql`
    select set_config('synchronous_commit', 'local', true),
      pg_logical_emit_message(true, 'pgstream', '')`;
}
