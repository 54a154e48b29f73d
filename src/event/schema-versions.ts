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

/** What the version says of a table. */
export interface LoggedTable extends TableIds {
  readonly name: string;
  /** The names of the primary key's columns; empty when there is none. */
  readonly primaryKey: readonly string[];
  /** The columns' types by column name: those of pg_catalog bare, others qualified. */
  readonly types: ReadonlyMap<string, string>;
  /** The names of the columns that rows in the log have. */
  readonly sent: ReadonlySet<string>;
}

/** A table found by its name. */
export interface NamedTable extends LoggedTable {
  readonly oid: number;
  readonly isPartitioned: boolean;
  /** The partitioned table that it is a partition of. */
  readonly parent: { readonly schema: string; readonly name: string } | undefined;
}

interface TableDocument {
  readonly oid: string;
  readonly name: string;
  readonly pgstream_id: string;
  readonly primary_key_columns: readonly string[];
  readonly columns: readonly {
    readonly name: string;
    readonly pgstream_id: string;
    readonly type: string;
    readonly nullable: boolean;
    readonly unique: boolean;
    readonly generated?: string;
  }[];
  /** Names as SQL writes them; of a partition, that of its parent. */
  readonly inherits?: readonly string[];
  readonly partition_bound?: string;
  readonly partition_key?: string;
}

/**
 * What `schema_log.schema` holds, as far as it is read here: all tables of the schema, or, where it
 * is partial, those that have changed since the version before, and those that are gone.
 */
export interface SchemaDocument {
  readonly tables: readonly TableDocument[] | null;
  readonly partial?: boolean;
  readonly dropped_tables?: readonly Pick<TableDocument, 'pgstream_id'>[];
}

interface Schema {
  readonly schemaId: string;
  /** By their lasting id. */
  readonly documents: ReadonlyMap<string, TableDocument>;
  /** By their oid. */
  readonly tables: ReadonlyMap<number, TableDocument>;
  readonly names: ReadonlyMap<string, TableDocument>;
}

export class SchemaVersions {
  /** The names of the types of pg_catalog. */
  readonly catalogTypes: ReadonlySet<string>;
  readonly #schemas = new Map<string, Schema>();
  /** The schema of each table, by its oid. */
  readonly #places = new Map<number, string>();
  #epoch = 0;

  constructor(catalogTypes: ReadonlySet<string> = new Set()) {
    this.catalogTypes = catalogTypes;
  }

  /** Changes whenever a version does. */
  get epoch(): number {
    return this.#epoch;
  }

  /** A version of a schema has come into force. Returns the oids of the tables that it changes. */
  apply(schemaName: string, schemaId: string, document: SchemaDocument): number[] {
    const before = this.#schemas.get(schemaName)?.documents ?? new Map<string, TableDocument>();
    const documents = new Map(document.partial ? before : []);
    for (const { pgstream_id: id } of document.dropped_tables ?? []) documents.delete(id);
    for (const table of document.tables ?? []) documents.set(table.pgstream_id, table);
    const tables = new Map([...documents.values()].map((table) => [Number(table.oid), table]));
    for (const { oid } of before.values()) {
      if (this.schemaOf(Number(oid)) === schemaName) this.#places.delete(Number(oid));
    }
    for (const oid of tables.keys()) this.#places.set(oid, schemaName);
    const names = new Map([...documents.values()].map((table) => [table.name, table]));
    this.#schemas.set(schemaName, { schemaId, documents, tables, names });
    this.#epoch++;
    return changedTables(before, documents);
  }

  /** The schema that a table of this oid is in; undefined where no version has it. */
  schemaOf(oid: number): string | undefined {
    return this.#places.get(oid);
  }

  /** Found by its oid: a table that was renamed unlogged is the same one, its successor is not. */
  find(schemaName: string, oid: number): LoggedTable | undefined {
    const schema = this.#schemas.get(schemaName);
    const table = schema?.tables.get(oid);
    return table && { schemaId: schema!.schemaId, ...describe(table) };
  }

  /** Found by its name: for who is not told of oids. */
  named(schemaName: string, name: string): NamedTable | undefined {
    const schema = this.#schemas.get(schemaName);
    const table = schema?.names.get(name);
    if (!table) return undefined;
    const parent = table.partition_bound === undefined ? undefined : table.inherits?.[0];
    return {
      schemaId: schema!.schemaId,
      ...describe(table),
      oid: Number(table.oid),
      isPartitioned: table.partition_key !== undefined,
      parent: parent === undefined ? undefined : splitName(parent),
    };
  }
}

/** A qualified name as SQL writes it, each part in double quotes if need be. */
function splitName(qualified: string): { schema: string; name: string } {
  const [schema = '', name = ''] = [...qualified.matchAll(/"((?:[^"]|"")*)"|([^".]+)/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain!,
  );
  return { schema, name };
}

function describe(table: TableDocument): Omit<LoggedTable, 'schemaId'> {
  const columns = new Map(table.columns.map(({ name, pgstream_id: id }) => [name, id]));
  const key = table.primary_key_columns.flatMap((name) => columns.get(name) ?? []);
  const unique = table.columns.find((column) => column.unique && !column.nullable);
  return {
    name: table.name,
    tableId: table.pgstream_id,
    columns,
    identity: key.length > 0 ? key : unique ? [unique.pgstream_id] : null,
    primaryKey: table.primary_key_columns,
    types: new Map(table.columns.map(({ name, type }) => [name, type])),
    sent: new Set(table.columns.flatMap(({ name, generated }) => (generated ? [] : name))),
  };
}

/** A document that is the same object has not changed. */
function changedTables(
  before: ReadonlyMap<string, TableDocument>,
  after: ReadonlyMap<string, TableDocument>,
): number[] {
  const isChanged = (id: string, table: TableDocument) => {
    const old = before.get(id);
    return old !== table && JSON.stringify(old) !== JSON.stringify(table);
  };
  const changed = [...after].filter(([id, table]) => isChanged(id, table));
  const dropped = [...before].filter(([id]) => !after.has(id));
  return [...changed, ...dropped].map(([, { oid }]) => Number(oid));
}
