/**
 * What the slot holds, read from a copy of it by the decoder of another project: exactly those
 * events must have been received, under these ids.
 */
import { PgoutputPlugin, type Pgoutput } from 'pg-logical-replication';
import { parseLsn } from '../../src/replication/lsn.js';
import { publications } from '../../src/install/publications.js';
import type { First } from './endpoint.js';
import { tell, type Event } from './event.js';
import { selects, type Action, type Selection } from './tables.js';

/** Every change in the tables that are soaked, by its place in the log. */
export type LoggedChanges = Map<string, Event & { readonly action: Action }>;

const placeOf = (commitLsn: bigint, ordinal: number) => `${commitLsn.toString(16)}/${ordinal}`;

export async function readLog(captured: AsyncIterable<Buffer[]>): Promise<LoggedChanges> {
  const changes: LoggedChanges = new Map();
  let commitLsn = 0n;
  let ordinal = 0;
  const add = (relation: Pgoutput.MessageRelation, action: Action, row: Row, old?: Row) => {
    ordinal++;
    if (relation.schema !== 'public') return;
    const oldId = action === 'U' ? (old ?? row)?.['id'] : old?.['id'];
    const seq = row?.['seq'] ?? old?.['seq'];
    const event = tell({ table: relation.name, action, oldId, id: row?.['id'], seq });
    changes.set(placeOf(commitLsn, ordinal), { action, ...event });
  };
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [...publications] });
  for await (const messages of captured) {
    for (const bytes of messages) {
      const message = plugin.parse(bytes) as Pgoutput.Message;
      switch (message.tag) {
        case 'begin':
          commitLsn = parseLsn(message.commitLsn!);
          ordinal = 0;
          break;
        case 'relation':
          // Values stay the texts that they are.
          for (const column of message.columns) column.parser = String;
          break;
        case 'insert':
          add(message.relation, 'I', message.new);
          break;
        case 'update':
          add(message.relation, 'U', message.new, message.key ?? message.old);
          break;
        case 'delete':
          add(message.relation, 'D', null, message.key ?? message.old);
          break;
        case 'truncate':
          for (const relation of message.relations) add(relation, 'T', null);
          break;
        default:
      }
    }
  }
  return changes;
}

type Row = Record<string, string> | null;

/** Compares the ids that an endpoint got with those that the log demands. */
export function audit(
  name: string,
  firsts: readonly First[],
  selection: Selection,
  changes: LoggedChanges,
): string[] {
  const received = new Map(
    firsts.map((first) => [placeOf(first.commitLsn, first.ordinal), first.text]),
  );
  const offences: string[] = [];
  if (received.size !== firsts.length) offences.push('two ids are of one place in the log');
  for (const [place, { table, action, text }] of changes) {
    if (!selects(selection, table, action)) continue;
    const got = received.get(place);
    if (got !== text) offences.push(`at ${place} the log has ${text}, received was ${got}`);
    received.delete(place);
  }
  for (const [place, text] of received) offences.push(`at ${place} the log has no ${text}`);
  return offences.map((offence) => `${name}: ${offence}`);
}
