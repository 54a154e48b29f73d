/** Encodes the changes of one table in one format. */
import { parseLsn } from '../replication/lsn.js';
import type { Relation } from '../replication/pgoutput.js';
import { businessColumn, isBusiness } from './business.js';
import type { Commit } from './commit.js';
import { encodeEvent, type Change } from './encode.js';
import type { Format } from './format.js';
import { businessTemplate, rowTemplates, type Origin, type Templates } from './formats.js';
import type { JsonWriter } from './json-writer.js';
import { writeIdentity, writeRow, writeUnchanged, writeValue, type RowTable } from './row-json.js';
import type { TableIds } from './schema-versions.js';
import type { Slice } from './slice.js';
import { prepareTable } from './table.js';
import type { Slot } from './template.js';
import { objectValueKind } from './value.js';

export interface Encoder {
  /** Whether a body tells its `webhook-id`, so that each subscription has its own. */
  readonly tellsId: boolean;
  /** `lsn` is the position of the change as Postgres prints it, 0/0 for what was there before. */
  encode(writer: JsonWriter, change: Change, commit: Commit, lsn: string, id: string): Slice;
}

/** What is known of a table, whose types are given as `format_type` prints them. */
export interface Described {
  readonly relation: Relation;
  readonly types: readonly string[];
}

/** `ids`: the table's lasting ids, where metadata is to be filled in. */
export function createEncoder(
  format: Format,
  { relation, types }: Described,
  origin: Origin,
  ids?: TableIds,
): Encoder {
  if (isBusiness(relation)) return businessEncoder(format, relation, origin);
  if (format === 'pgstream') {
    const table = prepareTable(relation, types, ids);
    return {
      tellsId: false,
      encode: (writer, change, { timestamp }, lsn) =>
        encodeEvent(writer, table, change, timestamp, lsn),
    };
  }
  return new TemplateEncoder(relation, rowTemplates(format, relation, origin, ids));
}

function businessEncoder(format: Format, relation: Relation, origin: Origin): Encoder {
  const columns = {
    type: businessColumn(relation, 'type'),
    data: businessColumn(relation, 'data'),
  };
  const body = businessTemplate(format, columns, origin);
  return new TemplateEncoder(relation, { I: body, U: body, D: body, T: body, snapshot: body });
}

class TemplateEncoder implements Encoder {
  readonly tellsId: boolean;
  readonly #table: RowTable;
  readonly #templates: Templates;

  constructor(relation: Relation, templates: Templates) {
    this.tellsId = templates.I.slots.some(({ fill }) => fill === 'id');
    this.#templates = templates;
    this.#table = {
      isObject: true,
      columns: relation.columns.map(({ name, typeOid, identity }) => ({
        kind: objectValueKind(typeOid),
        identity,
        nameJson: Buffer.from(JSON.stringify(name)),
        opening: Buffer.from(`${JSON.stringify(name)}:`),
      })),
    };
  }

  encode(writer: JsonWriter, change: Change, commit: Commit, lsn: string, id: string): Slice {
    const kind = lsn === '0/0' ? 'snapshot' : change.action;
    const { fragments, slots } = this.#templates[kind];
    writer.raw(fragments[0]!);
    for (let i = 0; i < slots.length; i++) {
      this.#fill(writer, slots[i]!, change, commit, lsn, id);
      writer.raw(fragments[i + 1]!);
    }
    return writer.take();
  }

  #fill(
    writer: JsonWriter,
    slot: Slot,
    change: Change,
    commit: Commit,
    lsn: string,
    id: string,
  ): void {
    const table = this.#table;
    switch (slot.fill) {
      case 'id':
        return writer.ascii(id);
      case 'time':
        return writer.ascii(commit.rfc3339);
      case 'milliseconds':
        return writer.ascii(commit.milliseconds);
      case 'microseconds':
        return writer.ascii(commit.microseconds);
      case 'xid':
        return writer.ascii(String(commit.xid));
      case 'lsn':
        return writer.ascii(String(parseLsn(lsn)));
      case 'new':
        return writeRow(writer, table, change.new!, change.old);
      case 'old':
        return writeIdentity(writer, table, change.old ?? change.new!);
      case 'logged':
        return change.old ? writeIdentity(writer, table, change.old) : writer.null();
      case 'unchanged':
        if (change.new) writeUnchanged(writer, table, change.new, change.old);
        return;
      case 'column':
        return writeValue(writer, table.columns[slot.column]!.kind, change.new!, slot.column);
    }
  }
}
