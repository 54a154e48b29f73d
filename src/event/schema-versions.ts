/** The schema version that is true at the present place in the log, one for each schema. */

/** The lasting ids that the metadata of a table's events is filled with. */
export interface TableIds {
  /** `schema_log.id` of the version. */
  readonly schemaId: string;
  readonly tableId: string;
  /** Column ids by column name. */
  readonly columns: ReadonlyMap<string, string>;
  /** The ids of the primary key's columns, else of the first unique column that is not nullable. */
  readonly identity: readonly string[] | null;
}

/** What `schema_log.schema` holds, as far as it is read here. */
export interface SchemaDocument {
  readonly tables:
    | readonly {
        readonly oid: string;
        readonly name: string;
        readonly pgstream_id: string;
        readonly primary_key_columns: readonly string[];
        readonly columns: readonly {
          readonly name: string;
          readonly pgstream_id: string;
          readonly nullable: boolean;
          readonly unique: boolean;
        }[];
      }[]
    | null;
}

type TableDocument = NonNullable<SchemaDocument['tables']>[number];

export class SchemaVersions {
  readonly #schemas = new Map<string, Map<string, TableIds>>();
  readonly #documents = new Map<string, readonly TableDocument[]>();
  #epoch = 0;

  /** Changes whenever a version does. */
  get epoch(): number {
    return this.#epoch;
  }

  /** A version of a schema has come into force. Returns the oids of the tables that it changes. */
  apply(schemaName: string, schemaId: string, document: SchemaDocument): number[] {
    const tables = new Map<string, TableIds>();
    for (const table of document.tables ?? []) {
      const columns = new Map(table.columns.map(({ name, pgstream_id: id }) => [name, id]));
      const key = table.primary_key_columns.flatMap((name) => columns.get(name) ?? []);
      const unique = table.columns.find((column) => column.unique && !column.nullable);
      tables.set(table.name, {
        schemaId,
        tableId: table.pgstream_id,
        columns,
        identity: key.length > 0 ? key : unique ? [unique.pgstream_id] : null,
      });
    }
    this.#schemas.set(schemaName, tables);
    this.#epoch++;
    const before = this.#documents.get(schemaName) ?? [];
    this.#documents.set(schemaName, document.tables ?? []);
    return changedTables(before, document.tables ?? []);
  }

  find(schemaName: string, table: string): TableIds | undefined {
    return this.#schemas.get(schemaName)?.get(table);
  }
}

function changedTables(
  before: readonly TableDocument[],
  after: readonly TableDocument[],
): number[] {
  const texts = new Map(before.map((table) => [table.oid, JSON.stringify(table)]));
  const changed = after.filter((table) => texts.get(table.oid) !== JSON.stringify(table));
  const left = new Set(after.map(({ oid }) => oid));
  const dropped = before.filter(({ oid }) => !left.has(oid));
  return [...changed, ...dropped].map(({ oid }) => Number(oid));
}
