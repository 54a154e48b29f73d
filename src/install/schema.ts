/**
 * Installs, upgrades and removes schema `pgstream`: the migrations that have not run, by
 * node-pg-migrate, then all that stores nothing, in one transaction, so that a failure changes
 * nothing.
 */
import { readdir } from 'node:fs/promises';
import pg from 'pg';
import { exitCode, PgstreamError } from '../errors.js';
import { pgOptions, type Connection } from '../settings/connection.js';
import { databaseError } from '../settings/database-error.js';
import { migrationsDirectory, readBundle } from './bundle.js';

export interface MigrationStatus {
  readonly name: string;
  /** When it ran, as Postgres prints it; undefined while it is pending. */
  readonly ranAt: string | undefined;
}

/** All that a look at the ledger of migrations needs; a client of `pg` has it. */
interface LedgerReader {
  query<Row extends pg.QueryResultRow>(text: string): Promise<{ rows: Row[] }>;
}

/** Opens a connection of its own for installing; every error it throws is one for a user. */
export async function withClient<T>(
  connection: Connection,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client(pgOptions(connection));
  client.on('error', () => undefined); // reported by the query that it breaks
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw databaseError(error, connection);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Runs the work in one transaction, with the server's warnings handed on. The files of sql/ and
 * migrations/ leave it to whoever runs them that names mean pg_catalog's.
 */
async function inTransaction<T>(
  client: pg.Client,
  onWarning: (text: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  const warn = ({ message, hint }: { message: string | undefined; hint?: string | undefined }) =>
    onWarning(hint ? `${message}. ${hint}` : String(message));
  client.on('notice', warn);
  await client.query('begin');
  try {
    await client.query('set local client_min_messages = warning');
    await client.query('set local search_path = pg_catalog, pg_temp');
    await client.query('set local standard_conforming_strings = on');
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  } finally {
    client.off('notice', warn);
  }
}

/**
 * Installs or upgrades; returns the names of the migrations that ran. Others who install wait for it
 * at the ledger, and go on from what it has made.
 */
export function installSchema(
  client: pg.Client,
  onWarning: (text: string) => void = () => undefined,
): Promise<string[]> {
  return inTransaction(client, onWarning, async () => {
    await client.query(await readBundle('ledger.sql'));
    const ran = await migrate(client, 'up');
    await client.query(await readBundle('code.sql'));
    return ran;
  });
}

/**
 * Removes the schema, the event triggers and the publications. Fails with 2BP01, changing nothing,
 * when objects of others depend on ours.
 */
export function removeSchema(
  client: pg.Client,
  onWarning: (text: string) => void = () => undefined,
): Promise<boolean> {
  return inTransaction(client, onWarning, async () => {
    const wasInstalled = await isInstalled(client);
    if (wasInstalled) await client.query(await readBundle('ledger.sql'));
    await client.query(
      'drop publication if exists pgstream_control, pgstream_insert, pgstream_update',
    );
    if (!wasInstalled) return false;
    await client.query(await readBundle('drop_code.sql'));
    await migrate(client, 'down');
    await client.query('drop table pgstream.migrations');
    await client.query('drop schema pgstream');
    return true;
  });
}

/** All migrations of this version, oldest first, with the time when each ran. */
export async function migrationStatus(client: LedgerReader): Promise<MigrationStatus[]> {
  const ran = new Map<string, string>();
  if (await isInstalled(client)) {
    const { rows } = await client.query<{ name: string; run_on: string }>(
      'select name, run_on::text from pgstream.migrations order by id',
    );
    for (const { name, run_on: runOn } of rows) ran.set(name, runOn);
  }
  return (await migrationNames()).map((name) => ({ name, ranAt: ran.get(name) }));
}

/** Refuses to go on where the schema is missing or older than this program. */
export async function requireSchema(client: LedgerReader): Promise<void> {
  const status = await migrationStatus(client);
  const pending = status.filter(({ ranAt }) => ranAt === undefined);
  if (pending.length === status.length) {
    throw new PgstreamError('not_installed', 'pgstream is not installed in this database', {
      hint: 'pgstream init',
    });
  }
  if (pending.length > 0) {
    const names = pending.map(({ name }) => name).join(', ');
    throw new PgstreamError('pending_migrations', `migrations have not been run: ${names}`, {
      hint: 'pgstream migrate up',
      exitCode: exitCode.unhealthy,
    });
  }
}

async function migrationNames(): Promise<string[]> {
  const files = await readdir(migrationsDirectory);
  return files
    .filter((file) => file.endsWith('.up.sql'))
    .map((file) => file.slice(0, -'.up.sql'.length))
    .sort();
}

async function isInstalled(client: LedgerReader): Promise<boolean> {
  const { rows } = await client.query<{ installed: boolean }>(
    "select to_regclass('pgstream.migrations') is not null as installed",
  );
  return rows[0]!.installed;
}

async function migrate(client: pg.Client, direction: 'up' | 'down'): Promise<string[]> {
  const { runner } = await import('node-pg-migrate');
  const silent = () => undefined;
  const ran = await runner({
    dbClient: withinTransaction(client),
    dir: migrationsDirectory,
    direction,
    count: Number.POSITIVE_INFINITY,
    migrationsSchema: 'pgstream',
    migrationsTable: 'migrations',
    migrationLoaderStrategies: [{ extensions: ['.sql'], loader: 'sql' }],
    singleTransaction: true,
    noLock: true,
    logger: { debug: silent, info: silent, warn: silent, error: silent },
  });
  return ran.map(({ name }) => name);
}

/** node-pg-migrate begins and ends a transaction of its own; here it runs inside ours. */
function withinTransaction(client: pg.Client): pg.Client {
  return new Proxy(client, {
    get(target, property) {
      if (property !== 'query') return Reflect.get(target, property) as unknown;
      return (text: string, values?: unknown[]) =>
        ['BEGIN', 'COMMIT', 'ROLLBACK'].includes(text)
          ? Promise.resolve({ rows: [] })
          : target.query(text, values);
    },
  });
}
