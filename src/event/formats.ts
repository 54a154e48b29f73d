/** The bodies of the formats other than pgstream's own; docs/formats.md shows each of them. */
import type { Relation } from '../replication/pgoutput.js';
import type { Action } from './encode.js';
import { eventType, type Format } from './format.js';
import type { TableIds } from './schema-versions.js';
import { metadataMember } from './table.js';
import { template, type Slot, type Template } from './template.js';

/** Where events come from. */
export interface Origin {
  readonly database: string;
}

/** The `source` of CloudEvents. */
export const sourceOf = ({ database }: Origin): string =>
  `/pgstream/${encodeURIComponent(database)}`;

/** A row change, or a row as it was found when it was first read. */
export type Kind = Action | 'snapshot';

export type Templates = Readonly<Record<Kind, Template>>;

const id: Slot = { fill: 'id' };
const time: Slot = { fill: 'time' };
const milliseconds: Slot = { fill: 'milliseconds' };
const microseconds: Slot = { fill: 'microseconds' };
const xid: Slot = { fill: 'xid' };
const lsn: Slot = { fill: 'lsn' };
const unchanged: Slot = { fill: 'unchanged' };
const json = (text: string) => JSON.stringify(text);

/** The templates of a table's events, one for each kind of change. */
export function rowTemplates(
  format: Exclude<Format, 'pgstream'>,
  relation: Relation,
  origin: Origin,
  ids: TableIds | undefined,
): Templates {
  const metadata = ids ? metadataMember(ids) : '';
  const of = (kind: Kind) => rowTemplate(format, kind, relation, origin, metadata);
  return { I: of('I'), U: of('U'), D: of('D'), T: of('T'), snapshot: of('snapshot') };
}

function rowTemplate(
  format: Exclude<Format, 'pgstream'>,
  kind: Kind,
  { schema, name: table }: Relation,
  origin: Origin,
  metadata: string,
): Template {
  const hasNew = kind !== 'D' && kind !== 'T';
  const hasOld = kind === 'U' || kind === 'D';
  const after = hasNew ? template`${{ fill: 'new' }}` : 'null';
  const before = (how: 'old' | 'logged') => (hasOld ? template`${{ fill: how }}` : 'null');
  if (format === 'debezium') {
    return template`{"before":${before('logged')},"after":${after},"source":${debeziumSource(
      origin,
      { schema, table, isSnapshot: kind === 'snapshot' },
      metadata,
    )},"transaction":null,"op":"${debeziumOps[kind]}","ts_ms":${milliseconds}${unchanged}}`;
  }
  const data = template`{"new":${after},"old":${before('old')}${metadata}${unchanged}}`;
  const type = eventType({ schema, table, action: kind === 'snapshot' ? 'I' : kind });
  switch (format) {
    case 'standard':
      return standard(json(type), data);
    case 'cloudevents':
      return cloudEvent(origin, json(type), `"subject":${json(`${schema}.${table}`)},`, data);
    case 'cloudevents_binary':
      return data;
  }
}

/** The template of business events, which are rows of a table with these columns. */
export function businessTemplate(
  format: Format,
  columns: { readonly type: number; readonly data: number },
  origin: Origin,
): Template {
  const type = template`${{ fill: 'column', column: columns.type }}`;
  const data = template`${{ fill: 'column', column: columns.data }}`;
  switch (format) {
    case 'pgstream':
    case 'standard':
      return standard(type, data);
    case 'cloudevents':
      return cloudEvent(origin, type, '', data);
    case 'cloudevents_binary':
      return data;
    case 'debezium':
      return template`{"op":"m","ts_ms":${milliseconds},"source":${debeziumSource(
        origin,
        { schema: '', table: '', isSnapshot: false },
        '',
      )},"message":{"prefix":${type},"content":${data}}}`;
  }
}

const standard = (type: string | Template, data: Template) =>
  template`{"type":${type},"timestamp":"${time}","data":${data}}`;

/** https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md */
const cloudEvent = (origin: Origin, type: string | Template, subject: string, data: Template) =>
  template`{"specversion":"1.0","id":"${id}","source":${json(sourceOf(origin))},"type":${type},${subject}"time":"${time}","datacontenttype":"application/json","data":${data}}`;

const debeziumOps = { I: 'c', U: 'u', D: 'd', T: 't', snapshot: 'r' };

/** https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events */
const debeziumSource = (
  { database }: Origin,
  of: { schema: string; table: string; isSnapshot: boolean },
  metadata: string,
) =>
  template`{"version":"1","connector":"pgstream","name":${json(database)},"ts_ms":${milliseconds},"ts_us":${microseconds},"snapshot":"${String(of.isSnapshot)}","db":${json(database)},"schema":${json(of.schema)},"table":${json(of.table)},"txId":${xid},"lsn":${lsn}${metadata}}`;
