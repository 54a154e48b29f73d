/**
 * All that is the same for every event of a table: its JSON is prepared once for each Relation
 * message, so that an event costs only the copying of its values.
 */
import type { Relation } from '../replication/pgoutput.js';
import type { RowColumn, RowTable } from './row-json.js';
import type { TableIds } from './schema-versions.js';
import { valueKind } from './value.js';

export interface EventTable extends RowTable {
  /** `","schema":"…","table":"…","columns":` */
  readonly naming: Buffer;
  /** `,"metadata":{…}` */
  readonly metadata: Buffer;
}

/**
 * Prepares a table. `types` are the names of its columns' types as `format_type` prints them;
 * `ids` its lasting ids, where metadata is to be filled in.
 */
export function prepareTable(
  relation: Relation,
  types: readonly string[],
  ids?: TableIds,
): EventTable {
  return {
    isObject: false,
    columns: relation.columns.map((column, i): RowColumn => ({
      kind: valueKind(column.typeOid),
      identity: column.identity,
      nameJson: json(column.name),
      opening: Buffer.from(
        `{"id":${JSON.stringify(ids?.columns.get(column.name) ?? '')},` +
          `"name":${JSON.stringify(column.name)},"type":${JSON.stringify(types[i])},"value":`,
      ),
    })),
    naming: Buffer.from(
      `","schema":${JSON.stringify(relation.schema)},` +
        `"table":${JSON.stringify(relation.name)},"columns":`,
    ),
    metadata: Buffer.from(metadataMember(ids)),
  };
}

const json = (text: string) => Buffer.from(JSON.stringify(text));

/** `,"metadata":{…}` */
export const metadataMember = (ids: TableIds | undefined): string =>
  ',"metadata":' +
  JSON.stringify({
    schema_id: ids?.schemaId ?? null,
    table_pgstream_id: ids?.tableId ?? '',
    id_col_pgstream_id: ids?.identity ?? null,
    version_col_pgstream_id: '',
  });
