/** The database that freeze.mjs has frozen, restored into a cluster of the tests. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import pg from 'pg';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

const directory = path.join(import.meta.dirname, '087158e');
const readFrozen = (file: string) => fs.readFile(path.join(directory, file));

/** What freeze.mjs has sealed secrets with. */
export const secretKey = Buffer.alloc(32, 'frozen').toString('base64');

export interface Frozen extends TestDatabase {
  /** The name of the slot, which no dump has. */
  slot: string;
}

/** Creates the roles that are granted something in the frozen database. */
export const createRoles = async ({ sql }: TestDatabase): Promise<void> =>
  void (await sql.unsafe((await readFrozen('roles.sql')).toString()));

/** Makes them what they are in the frozen database. */
export async function grantRoles({ sql }: TestDatabase): Promise<void> {
  await sql.unsafe(`
    select pgstream.grant_subscriber('frozen_shop'), pgstream.grant_subscriber('frozen_rival'),
           pgstream.grant_operator('frozen_oncall'), pgstream.grant_runner('frozen_courier'),
           pgstream.grant_emitter('frozen_till'), pgstream.grant_subscriber('frozen_ear'),
           pgstream.grant_listener('frozen_ear');
    grant select on pgstream.schema_log to frozen_shop`);
}

/** Drops them; the databases in which they were granted something are gone. */
export async function dropRoles(): Promise<void> {
  const database = await createDatabase({ template: false });
  const { sql } = database;
  const roles = await sql<{ name: string }[]>`
    select rolname as name from pg_roles where rolname ^@ 'frozen_'`;
  for (const { name } of roles) await sql`drop role ${sql(name)}`;
  await database.drop();
}

/** Restores it, with its endpoints at this address. The roles are there. */
export async function restoreFrozen(receiverUrl: string): Promise<Frozen> {
  const depot = await createDatabase({ template: false });
  await runDump(depot.url, (await readFrozen('depot.sql')).toString());
  const database = await createDatabase({ template: false });
  const slot = `pgstream_${database.name}_slot`;
  const dump = gunzipSync(await readFrozen('database.sql.gz'))
    .toString()
    .replaceAll('http://127.0.0.1:9910', receiverUrl)
    .replaceAll("dbname 'frozen_depot'", `dbname '${depot.name}'`)
    .replaceAll("port '5432'", `port '${new URL(depot.url).port}'`)
    .replaceAll('pgstream_frozen_slot', slot);
  await runDump(database.url, dump);
  return {
    ...database,
    slot,
    async drop() {
      await database.drop();
      await depot.drop();
    },
  };
}

/**
 * Makes of a database that was restored one that has lived where it is: its own code finds its tables
 * again, oids that this leaves alone are put right, and once more something is changed that nobody has
 * followed yet.
 */
export async function settle({ sql }: Frozen): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction.unsafe(`
      create temp table oids on commit drop as
      select (o.document ->> 'oid')::bigint as was,
             format('%I.%I', o.schema_name, o.name)::regclass::oid::bigint as now
      from pgstream.schema_objects o where o.kind = 'tables'
      union
      select d.lane_tables[1], case d.schema_name
               when 'pgstream' then 'pgstream.schema_log' else 'pgstream.emitted_events'
             end::regclass::oid::bigint
      from pgstream.webhook_deliveries d where d.schema_name in ('', 'pgstream');

      update pgstream.webhook_deliveries d
      set lane_tables = array(
        select o.now from unnest(d.lane_tables) with ordinality l(oid, n)
        join oids o on o.was = l.oid order by l.n);

      update pgstream.snapshot_tables t set oid = o.now from oids o where o.was = t.oid;
      select from pgstream.reconcile()`);
  });
  await sql.begin('isolation level repeatable read', async (transaction) => {
    await transaction`create table shop.newest (id integer primary key)`;
  });
}

async function runDump(url: string, dump: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(dump);
  } finally {
    await client.end();
  }
}

type Row = Record<string, string | null>;

/** The rows of each table, by its name and then by their keys, or by themselves without a key. */
export type Contents = Map<string, Map<string, Row>>;

/** Everything that users and pgstream have stored, as text. */
export async function contents({ sql }: TestDatabase): Promise<Contents> {
  const tables = await sql<{ name: string; key: string[] | null }[]>`
    select c.oid::regclass::text as name, (
        select array_agg(a.attname order by a.attnum)
        from pg_index i
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
        where i.indrelid = c.oid and i.indisprimary) as key
    from pg_class c
    where c.relkind in ('r', 'm') and c.oid >= 16384`;
  const found: Contents = new Map();
  for (const { name, key } of tables) {
    const rows = await sql.unsafe<{ row: Row }[]>(`
      select (select jsonb_object_agg(e.key, e.value) from jsonb_each_text(to_jsonb(t)) e) as row
      from ${name} t`);
    const keyOf = (row: Row) => (key ?? Object.keys(row)).map((column) => row[column]).join(' ');
    found.set(name, new Map(rows.map(({ row }) => [keyOf(row), row])));
  }
  return found;
}

/**
 * What has become of what was there, one line for each kind of change: rows of a table that are gone,
 * and columns, of those that there were, whose values are others.
 */
export function changes(before: Contents, after: Contents): string[] {
  const found = new Set<string>();
  for (const [table, rows] of before) {
    for (const [key, row] of rows) {
      const now = after.get(table)?.get(key);
      if (!now) found.add(`${table}: rows are gone`);
      for (const [column, value] of Object.entries(now ? row : {})) {
        if (value !== now![column]) found.add(`${table}.${column}`);
      }
    }
  }
  return [...found].toSorted();
}
