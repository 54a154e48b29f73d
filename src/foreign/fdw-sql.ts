/** SQL for psql that makes the tables of one database readable in another, without pgstream there. */
import { columnList, identifier, literal, qualified } from '../schema/describe.js';
import type { Column, EnumType, Table } from './tables.js';

export interface Remote {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string | undefined;
  /** As libpq takes it. */
  readonly sslmode: string;
}

export interface FdwOptions {
  readonly server: string;
  /** Rows that are fetched at once. */
  readonly fetch: number;
  readonly intoSchema: string;
  readonly viewsSchema: string;
}

export interface FdwSql {
  readonly fdw: string;
  /** By the table that each is for. */
  readonly views: Readonly<Record<string, string>>;
}

export function fdwSql(remote: Remote, tables: readonly Table[], options: FdwOptions): FdwSql {
  return {
    fdw: [
      'create extension if not exists postgres_fdw;',
      server(remote, options),
      userMapping(remote, options),
      `create schema if not exists ${identifier(options.intoSchema)};`,
      ...enumsOf(tables).map((type) => createEnum(type, options.intoSchema)),
      ...tables.map((table) => foreignTable(table, options)),
    ].join('\n\n'),
    views: Object.fromEntries(
      tables
        .filter(({ key }) => key.length > 0)
        .map((table) => [qualified(table.schema, table.name), view(table, options)]),
    ),
  };
}

/** The whole as psql runs it: all of it, or nothing. */
export const script = (parts: readonly string[]): string =>
  [
    String.raw`\set ON_ERROR_STOP on`,
    'begin;',
    'set local client_min_messages = warning;',
    ...parts,
    'commit;',
  ].join('\n\n');

export const viewsSchema = ({ viewsSchema: name }: FdwOptions): string =>
  `create schema if not exists ${identifier(name)};`;

/** Each enum type once; those of equal names in several schemas are told apart by these. */
export function enumsOf(tables: readonly Table[]): EnumType[] {
  const types = new Map<string, EnumType>();
  for (const { columns } of tables) {
    for (const { enum: type } of columns)
      if (type) types.set(qualified(type.schema, type.name), type);
  }
  return [...types.values()];
}

export const createEnum = ({ name, labels }: EnumType, schema: string): string => {
  const create = `create type ${qualified(schema, name)} as enum (${labels.map(literal).join(', ')})`;
  const missing = `to_regtype(${literal(qualified(schema, name))}) is null`;
  return [
    String.raw`select ${literal(create)} where ${missing} \gexec`,
    ...labels.map(
      (label) => `alter type ${qualified(schema, name)} add value if not exists ${literal(label)};`,
    ),
  ].join('\n');
};

export const typeOf = ({ type, enum: of, isArray }: Column, schema: string): string =>
  of ? `${qualified(schema, of.name)}${isArray ? '[]' : ''}` : type;

function server(remote: Remote, { server: name, fetch }: FdwOptions): string {
  const options = {
    host: remote.host,
    port: String(remote.port),
    dbname: remote.database,
    sslmode: remote.sslmode,
    fetch_size: String(fetch),
  };
  return [
    `create server if not exists ${identifier(name)}`,
    '  foreign data wrapper postgres_fdw',
    `  options (${optionList(options)});`,
    `alter server ${identifier(name)} options (${optionList(options, 'set ')});`,
  ].join('\n');
}

function userMapping({ user, password }: Remote, { server: name }: FdwOptions): string {
  const options = { user, ...(password !== undefined && { password }) };
  return [
    'create user mapping if not exists for current_user',
    `  server ${identifier(name)}`,
    `  options (${optionList(options)});`,
    `alter user mapping for current_user server ${identifier(name)}`,
    `  options (${optionList(options, 'set ')});`,
  ].join('\n');
}

const optionList = (options: Readonly<Record<string, string>>, verb = ''): string =>
  Object.entries(options)
    .map(([name, value]) => `${verb}${name} ${literal(value)}`)
    .join(', ');

/** One that is there already gets the columns that it lacks. */
function foreignTable(table: Table, { server: name, intoSchema }: FdwOptions): string {
  const here = qualified(intoSchema, table.name);
  const columns = table.columns.map((column) => {
    const options = `options (column_name ${literal(column.name)})`;
    return `${identifier(column.name)} ${typeOf(column, intoSchema)} ${options}`;
  });
  const unknown = table.columns
    .filter((column) => column.unknown !== null)
    .map(
      (column) => `-- ${oneLine(column.name)} is ${oneLine(column.unknown!)} there: read as text`,
    );
  const from = { schema_name: table.schema, table_name: table.name };
  const added = columns.map((column) => `  add column if not exists ${column}`).join(',\n');
  return [
    ...unknown,
    `create foreign table if not exists ${here} (`,
    columns.map((column) => `  ${column}`).join(',\n'),
    `) server ${identifier(name)} options (${optionList(from)});`,
    ...(columns.length > 0 ? [`alter foreign table ${here}\n${added};`] : []),
  ].join('\n');
}

const oneLine = (text: string) => text.replaceAll(/\s/g, ' ');

/** A unique index comes with it, so that it can be refreshed without keeping readers out. */
function view({ name, key }: Table, { intoSchema, viewsSchema: schema }: FdwOptions): string {
  const [here, index] = [qualified(schema, name), identifier(`${shortened(name)}_key`)];
  return [
    `create materialized view if not exists ${here} as select * from ${qualified(intoSchema, name)};`,
    `create unique index if not exists ${index} on ${here} ${columnList(key)};`,
    `-- refresh materialized view concurrently ${oneLine(here)};`,
  ].join('\n');
}

/** Such that a few letters more are still a name. */
function shortened(name: string): string {
  let short = name;
  while (Buffer.byteLength(short) > 58) short = short.slice(0, -1);
  return short;
}
