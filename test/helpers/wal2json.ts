/**
 * What wal2json says of a database's changes, as the bodies that a webhook has to bring.
 *
 * No value is ever parsed: the JSON of wal2json is cut into fragments, and those are put together
 * again, so that each digit and each escape is compared as it is.
 */
import postgres from 'postgres';
import { clusterUrl } from './cluster-url.js';

/** The settings of the session that wal2json prints in. */
export const pinnedSettings = {
  timezone: 'UTC',
  datestyle: 'ISO',
  intervalstyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
  search_path: 'public',
} as const;

const slot = 'oracle_slot';

/** Where what is sent may differ from wal2json: nowhere but here. */
export interface Differences {
  /** The root of each partition, as `schema.table`: its name is the one that is sent. */
  roots?: Readonly<Record<string, string>>;
  /** Columns, as `schema.table.column`, that pgoutput does not send: generated ones. */
  omitted?: readonly string[];
  /** Names of types that begin with a quote, by what wal2json, which drops the quotes, says. */
  quotedTypes?: Readonly<Record<string, string>>;
}

/**
 * Whether the server of the test run has wal2json. Where it has not, the tests `what` are to be
 * skipped, which is said aloud, or fail where PGSTREAM_TEST_REQUIRE_WAL2JSON is 1.
 */
export async function hasWal2json(what: string): Promise<boolean> {
  const sql = postgres(clusterUrl(), { max: 1 });
  try {
    await sql`load 'wal2json'`;
    return true;
  } catch (error) {
    if ((error as postgres.PostgresError).code !== '58P01') throw error;
    const reason = `the server has no output plugin wal2json to compare with: ${what}`;
    if (process.env['PGSTREAM_TEST_REQUIRE_WAL2JSON'] === '1') {
      throw new Error(reason, { cause: error });
    }
    console.warn(`SKIPPED, since ${reason}`);
    return false;
  } finally {
    await sql.end();
  }
}

export async function createOracle(sql: postgres.Sql): Promise<void> {
  await sql`select pg_create_logical_replication_slot(${slot}, 'wal2json')`;
}

/** All changes since the last call, as wal2json writes them; `sql` has the pinned settings. */
export async function readOracle(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ data: string }[]>`
    select data from pg_logical_slot_get_changes(${slot}, null, null,
      'format-version', '2', 'include-timestamp', '1', 'include-lsn', '1',
      'include-transaction', '0')`;
  return rows.map(({ data }) => data);
}

/** The members of a JSON object, each value as the text that it is written in. */
export function members(object: string): [name: string, fragment: string][] {
  return elements(object).map((member) => {
    const end = endOfValue(member, 0);
    return [JSON.parse(member.slice(0, end)) as string, member.slice(end + 1)];
  });
}

/** The elements of a JSON array, or the members of an object, each as the text that it is. */
export function elements(container: string): string[] {
  const parts: string[] = [];
  for (let at = 1; at < container.length - 1;) {
    let end = endOfValue(container, at);
    if (container[end] === ':') end = endOfValue(container, end + 1);
    parts.push(container.slice(at, end));
    at = end + 1;
  }
  return parts;
}

/** Where the value that begins at `start` ends; there is no white space between tokens. */
function endOfValue(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at]!;
    if (depth === 0 && at > start && ',:]}'.includes(character)) return at;
    if (character === '"') {
      for (at++; text[at] !== '"'; at++) if (text[at] === '\\') at++;
    } else if (character === '[' || character === '{') {
      depth++;
    } else if (character === ']' || character === '}') {
      depth--;
    }
  }
  return text.length;
}

/** The columns of each table, as `schema.table`, that an event can have, in their order. */
export async function columnsOfTables(sql: postgres.Sql): Promise<Map<string, string[]>> {
  const rows = await sql<{ table: string; columns: string[] }[]>`
    select n.nspname || '.' || c.relname as table,
           array_agg(a.attname::text order by a.attnum) as columns
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relkind in ('r', 'p')
    group by 1`;
  return new Map(rows.map(({ table, columns }) => [table, columns]));
}

/**
 * The body that has to arrive for a change that wal2json reports; undefined for one that is never
 * sent: messages, the rest of schema pgstream, and TRUNCATE of a partition.
 */
export function expectedBody(
  change: string,
  tables: ReadonlyMap<string, readonly string[]>,
  { roots = {}, omitted = [], quotedTypes = {} }: Differences = {},
): string | undefined {
  const { action, timestamp, lsn, schema, table, columns, identity } = Object.fromEntries(
    members(change),
  );
  if (action === '"M"') return undefined;
  const written = `${text(schema)}.${text(table)}`;
  const root = roots[written];
  if (action === '"T"' && root) return undefined;
  if (schema === '"pgstream"' && !(table === '"schema_log"' && action === '"I"')) return undefined;

  const rowOf = (array: string) =>
    new Map(
      elements(array).flatMap((column): [string, string][] => {
        const { name, type, value } = Object.fromEntries(members(column));
        if (omitted.includes(`${written}.${text(name)}`)) return [];
        const printed = JSON.stringify(quotedTypes[text(type)] ?? text(type));
        return [[text(name), `{"id":"","name":${name},"type":${printed},"value":${value}}`]];
      }),
    );
  const row = columns && rowOf(columns);
  const old = identity && rowOf(identity);

  // wal2json leaves out a TOASTed value that an update did not touch. It is filled in from the
  // identity where that has it, and named where it does not.
  const sent = tables.get(written)!.filter((name) => !omitted.includes(`${written}.${name}`));
  const unchanged = row ? sent.filter((name) => !row.has(name) && !(old && old.has(name))) : [];
  const filled = row && sent.flatMap((name) => row.get(name) ?? (old && old.get(name)) ?? []);

  return (
    `{"Data":{"action":${action},"timestamp":${timestamp},"lsn":${lsn},` +
    `"schema":${schema},"table":${root ? JSON.stringify(root.split('.')[1]) : table},` +
    `"columns":${filled ? `[${filled.join()}]` : 'null'},` +
    `"identity":${old ? `[${[...old.values()].join()}]` : 'null'},` +
    '"metadata":{"schema_id":null,"table_pgstream_id":"","id_col_pgstream_id":null,' +
    `"version_col_pgstream_id":""}` +
    (unchanged.length > 0 ? `,"unchanged":${JSON.stringify(unchanged)}` : '') +
    '}}'
  );
}

const text = (fragment: string | undefined) => JSON.parse(fragment!) as string;
