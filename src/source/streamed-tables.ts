/**
 * Finds the table that a line of wal2json is about.
 *
 * The line names it as it was called at its place in the log. The schema version in force there knows
 * which table that was, whatever has been renamed, dropped or made anew since: it gives the oid, the
 * order of the columns and the partitioned table of a partition. The catalogs, which are ahead, are
 * asked by that oid, for the replica identity and the oids of types; what the line itself tells of
 * these comes first. Only a table that no version knows is taken for the one that bears its name now.
 */
import { setTimeout } from 'node:timers/promises';
import type { Sql } from 'postgres';
import type { LoggedTable, NamedTable, SchemaVersions } from '../event/schema-versions.js';
import type { Relation } from '../replication/pgoutput.js';
import type { LineTable, StreamedTable, TableFinder } from '../replication/wal2json-tables.js';
import type { Registry } from '../subscriptions/registry.js';
import { cataloguedTables, typesOf, type CataloguedTable } from './table-facts.js';

/** The tables of ours that are read; as in publication pgstream_control. */
export const controlTables = [
  'schema_log',
  'subscription_changes',
  'ddl_error',
  'table_rewrites',
  'emitted_events',
  'snapshot_marks',
];

/** A table is in the log a moment before others see it: it is looked for so often … */
const mostTries = 50;
/** … with pauses of so many milliseconds. */
const visibleMs = 20;

/** Types with lower oids come with Postgres: their names never change. */
const firstUserType = 16_384;

export interface FinderOptions {
  readonly sql: Sql;
  /** Repeats work while Postgres is away. */
  readonly keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
  readonly registry: Registry;
  readonly versions: SchemaVersions;
}

type Located = NamedTable & { readonly schema: string };

export class StreamedTables implements TableFinder {
  readonly #options: FinderOptions;

  constructor(options: FinderOptions) {
    this.#options = options;
  }

  get versionsEpoch(): number {
    return this.#options.versions.epoch;
  }

  get wantedEpoch(): number {
    return this.#options.registry.epoch;
  }

  isUnwanted(schema: string, name: string, relation?: Relation): boolean {
    if (schema === 'pgstream') return !controlTables.includes(name);
    if (isSystemSchema(schema)) return true;
    const root = relation ?? this.#rootOf(this.#locate(schema, name));
    return root !== undefined && !this.#options.registry.wantsTable(root.schema, root.name);
  }

  async find(line: LineTable): Promise<StreamedTable | undefined> {
    if (this.isUnwanted(line.schema, line.name)) return undefined;
    const logged = this.#locate(line.schema, line.name);
    const loggedRoot = this.#rootOf(logged);
    const found = await this.#catalogued(line, logged, loggedRoot);
    const { own, root } = found;
    const isPartition = loggedRoot
      ? loggedRoot.oid !== logged!.oid
      : own !== undefined && root!.oid !== own.oid;
    const name = isPartition ? (loggedRoot ?? root!) : line;
    const { registry } = this.#options;
    if (line.schema !== 'pgstream' && !registry.wantsTable(name.schema, name.name))
      return undefined;

    const names = columnNames(line, logged, own);
    const identity = identityOf(line, names, logged, own);
    const typeOids = new Map(
      [...(root?.columns ?? []), ...(own?.columns ?? []), ...(line.columns ?? [])].map(
        (column) => [column.name, column.typeOid] as const,
      ),
    );
    const wanted = isPartition ? rootNames(names, loggedRoot, root) : names;
    const rootIdentity = isPartition ? identityOfRoot(loggedRoot, root) : identity;
    const columns = await this.#columns(wanted, typeOids, loggedRoot ?? logged, root ?? own);
    const relation: Relation = {
      tag: 'relation',
      oid: loggedRoot?.oid ?? root?.oid ?? logged?.oid ?? own?.oid ?? 0,
      schema: name.schema,
      name: name.name,
      replicaIdentity: rootIdentity.kind,
      columns: columns.map((column) => ({
        ...column,
        identity: rootIdentity.names.has(column.name),
      })),
    };
    const places = new Map(columns.map((column, i) => [column.name, i]));
    return {
      relation,
      isPartition,
      isFull: identity.kind === 'f',
      columns: names.map((column) => ({
        name: Buffer.from(column),
        typeOid: typeOids.get(column) ?? columns[places.get(column)!]!.typeOid,
        place: places.get(column)!,
        identity: identity.names.has(column),
      })),
    };
  }

  #locate(schema: string, name: string): Located | undefined {
    const table = this.#options.versions.named(schema, name);
    return table && { ...table, schema };
  }

  /** The partitioned table of a partition, else the table; undefined where no version knows it. */
  #rootOf(table: Located | undefined): Located | undefined {
    let root = table;
    while (root?.parent) root = this.#locate(root.parent.schema, root.parent.name);
    return root;
  }

  async #catalogued(line: LineTable, logged: Located | undefined, root: Located | undefined) {
    const { sql, keepTrying } = this.#options;
    for (let tries = 1; ; tries++) {
      const found = await keepTrying(() => cataloguedTables(sql, line, logged?.oid, root?.oid));
      if (logged || found.own || tries === mostTries) return found;
      await setTimeout(visibleMs);
    }
  }

  /** The columns of these names, with the names of their types as far as Postgres' own go. */
  async #columns(
    names: readonly string[],
    typeOids: ReadonlyMap<string, number>,
    logged: LoggedTable | undefined,
    catalogued: CataloguedTable | undefined,
  ) {
    const { sql, keepTrying } = this.#options;
    const asked = names.map((name) => {
      const typeOid = typeOids.get(name) ?? 0;
      const present = catalogued?.columns.find((column) => column.name === name);
      const isPresent = present?.typeOid === typeOid;
      return {
        typeOid,
        // What the version says of a user's type, the encoder looks up itself.
        logged: typeOid < firstUserType ? logged?.types.get(name) : undefined,
        present: isPresent ? present.type : undefined,
      };
    });
    const types = await keepTrying(() => typesOf(sql, asked));
    return names.map((name, i) => ({
      name,
      typeOid: types[i]!.oid,
      typmod: -1,
      ...(types[i]!.name !== null && { typeName: types[i]!.name }),
    }));
  }
}

/** As the SQL function `pgstream.is_system_schema`. */
const isSystemSchema = (schema: string) =>
  ['pgstream', 'pgroll', 'information_schema'].includes(schema) || schema.startsWith('pg_');

/** The columns of the table that is written, in its order. */
function columnNames(
  { columns, isWhole, identity = [] }: LineTable,
  logged: LoggedTable | undefined,
  own: CataloguedTable | undefined,
): string[] {
  const told = (columns ?? []).map(({ name }) => name);
  if (isWhole) return told;
  const needed = columns ? told : identity;
  const orders = [[...(logged?.types.keys() ?? [])], (own?.columns ?? []).map(({ name }) => name)];
  return orders.find((names) => isWithin(needed, names)) ?? [...needed];
}

/** Whether the names are among the others, in their order. */
function isWithin(names: readonly string[], others: readonly string[]): boolean {
  let at = -1;
  return names.every((name) => (at = others.indexOf(name, at + 1)) >= 0);
}

interface Identity {
  readonly names: ReadonlySet<string>;
  /** As `pg_class.relreplident`. */
  readonly kind: string;
}

/** What the table that is written tells of old rows. */
function identityOf(
  line: LineTable,
  names: readonly string[],
  logged: LoggedTable | undefined,
  own: CataloguedTable | undefined,
): Identity {
  const present = identityOfRoot(logged, own);
  if (!line.identity) return present;
  const told = new Set((line.columns ?? []).map(({ name }) => name));
  const isPresent =
    line.identity.every((name) => present.names.has(name)) &&
    [...present.names].every((name) => line.identity!.includes(name) || !told.has(name)) &&
    (line.columns !== undefined || line.identity.length === present.names.size);
  if (isPresent) return present;
  const isFull = names.every((name) => line.identity!.includes(name));
  return { names: new Set(line.identity), kind: isFull ? 'f' : 'd' };
}

const identityOfRoot = (
  logged: LoggedTable | undefined,
  catalogued: CataloguedTable | undefined,
): Identity =>
  catalogued
    ? {
        names: new Set(catalogued.columns.flatMap(({ name, identity }) => (identity ? name : []))),
        kind: catalogued.replicaIdentity,
      }
    : { names: new Set(logged?.primaryKey), kind: 'd' };

/** Rows of a partition come with the columns in the order of the partitioned table. */
function rootNames(
  names: readonly string[],
  logged: LoggedTable | undefined,
  root: CataloguedTable | undefined,
): string[] {
  const order = logged ? [...logged.types.keys()] : (root?.columns.map(({ name }) => name) ?? []);
  return [
    ...order.filter((name) => names.includes(name)),
    ...names.filter((name) => !order.includes(name)),
  ];
}
