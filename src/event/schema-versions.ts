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

export class SchemaVersions {
  readonly #schemas = new Map<string, Map<string, TableIds>>();
  #epoch = 0;

  /** Changes whenever a version does. */
  get epoch(): number {
    return this.#epoch;
  }

  /** A version of a schema has come into force. */
  apply(schemaName: string, schemaId: string, document: SchemaDocument): void {
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
  }

  find(schemaName: string, table: string): TableIds | undefined {
    return this.#schemas.get(schemaName)?.get(table);
  }
}
