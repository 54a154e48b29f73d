/** Reads `pgstream.schema_log` for people: on one connection, which can only read. */
import postgres, { type Sql } from 'postgres';
import { PgstreamError } from '../errors.js';
import { requireSchema } from '../install/schema.js';
import { postgresOptions, type Connection } from '../settings/connection.js';
import { databaseError } from '../settings/database-error.js';
import { nearest } from '../settings/nearest.js';
import { usageError } from '../settings/usage.js';
import { diffSchemas, type Change } from './diff.js';
import { nothing, wholeOf, type LoggedDocument, type SchemaDocument } from './document.js';

/** The number of a version as digits, which a `bigint` holds; or the newest one. */
export type VersionName = string;

export interface Version {
  readonly version: string;
  readonly schema: string;
  /** In UTC. */
  readonly createdAt: string;
  /** Whether a runner that fills in metadata has passed it. */
  readonly acked: boolean;
}

export interface LogEntry extends Version {
  readonly changes: readonly Change[];
}

export interface WholeVersion extends Version {
  readonly document: SchemaDocument;
  /** The same as Postgres prints it, with every digit of numbers. */
  readonly text: string;
}

export function parseVersion(text: string): VersionName {
  if (text === 'latest' || /^[1-9]\d{0,17}$/.test(text)) return text;
  throw usageError(
    'invalid_version',
    `"${text}" is no version of a schema`,
    'Versions are whole numbers from 1; latest stands for the newest one.',
  );
}

/** All versions of a schema, oldest first, with what each of them changed. */
export const readSchemaLog = (connection: Connection, schema: string): Promise<LogEntry[]> =>
  withReader(connection, async (sql) => {
    const entries: LogEntry[] = [];
    let before: SchemaDocument = nothing;
    // One at a time: a version of a large schema is a large document.
    const rows = sql<(Version & { logged: LoggedDocument })[]>`
      select ${columns(sql)}, schema as logged from pgstream.schema_log
      where schema_name = ${schema} order by schema_log.version`.cursor(1);
    for await (const [row] of rows) {
      const { logged, ...version } = row!;
      const after = wholeOf(before, logged);
      entries.push({ ...version, changes: diffSchemas(schema, before, after) });
      before = after;
    }
    if (entries.length === 0) throw await noSchema(sql, schema);
    return entries;
  });

/** The whole of each of these versions. */
export const readVersions = (
  connection: Connection,
  schema: string,
  names: readonly VersionName[],
): Promise<WholeVersion[]> =>
  withReader(connection, async (sql) => {
    const versions: WholeVersion[] = [];
    for (const name of names) versions.push(await readVersion(sql, schema, name));
    return versions;
  });

async function readVersion(sql: Sql, schema: string, name: VersionName): Promise<WholeVersion> {
  const [found] = await sql<Omit<WholeVersion, 'document'>[]>`
    select ${columns(sql)}, pgstream.schema_at(schema_name, version)::text as text
    from pgstream.schema_log
    where schema_name = ${schema}
      and (${name} = 'latest' or schema_log.version = nullif(${name}, 'latest')::bigint)
    order by schema_log.version desc limit 1`;
  if (found) return { ...found, document: JSON.parse(found.text) as SchemaDocument };
  const [range] = await sql<{ first: string | null; last: string | null }[]>`
    select min(version)::text as first, max(version)::text as last
    from pgstream.schema_log where schema_name = ${schema}`;
  if (!range?.first) throw await noSchema(sql, schema);
  throw new PgstreamError('no_version', `schema "${schema}" has no version ${name}`, {
    hint:
      range.first === range.last
        ? `There is version ${range.first} alone.`
        : `There are versions ${range.first} to ${range.last}.`,
  });
}

const columns = (sql: Sql) => sql`
  schema_log.version::text as version, schema_name as schema, acked,
  to_char(created_at, 'YYYY-MM-DD HH24:MI:SS') as "createdAt"`;

async function noSchema(sql: Sql, schema: string): Promise<PgstreamError> {
  const rows = await sql<{ name: string }[]>`
    select distinct schema_name as name from pgstream.schema_log order by 1`;
  const names = rows.map(({ name }) => name);
  const meant = nearest(schema, names);
  return new PgstreamError('no_schema', `the schema log has no version of schema "${schema}"`, {
    hint: meant
      ? `Did you mean ${meant}?`
      : names.length > 0
        ? `It has versions of ${names.slice(0, 20).join(', ')}${names.length > 20 ? ' …' : ''}.`
        : 'It is empty: the first version of a schema comes with its first table.',
  });
}

async function withReader<T>(connection: Connection, work: (sql: Sql) => Promise<T>): Promise<T> {
  const options = postgresOptions(connection);
  const sql = postgres({
    ...options,
    max: 1,
    connection: { ...options.connection, default_transaction_read_only: true },
  });
  try {
    await requireSchema({
      query: async <Row extends object>(text: string) => ({
        rows: [...(await sql.unsafe<Row[]>(text))],
      }),
    });
    return await work(sql);
  } catch (error) {
    throw databaseError(error, connection);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
