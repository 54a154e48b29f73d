/** The source database as the runner sees it: found fit to stream from, and ready for queries. */
import type pg from 'pg';
import postgres, { type Sql } from 'postgres';
import { PgstreamError, exitCode } from '../errors.js';
import { checkReplicationConnection, checkServer, inspectServer } from '../install/preflight.js';
import { requireSchema, withClient } from '../install/schema.js';
import { checkSlot, findSlot } from '../install/slot.js';
import { parseLsn, type Lsn } from '../replication/lsn.js';
import type { OutputPlugin } from '../replication/plugin.js';
import { postgresOptions, type Connection } from '../settings/connection.js';
import type { Settings } from '../settings/settings.js';
import { defaultSlotName } from '../settings/slot-name.js';

export interface Source {
  readonly connection: Connection;
  /** The database that subscriptions are kept in, if that is another one. */
  readonly store: Connection | undefined;
  readonly slotName: string;
  readonly plugin: OutputPlugin;
  /** The name of the database. */
  readonly database: string;
  /** `system_identifier` of the cluster. */
  readonly system: bigint;
}

/** Checks everything that streaming needs; throws a PgstreamError with the way out. */
export async function openSource(settings: Settings): Promise<Source> {
  const { source: connection } = settings;
  await withClient(connection, () => checkReplicationConnection(connection));
  const identity = await withClient(connection, async (client) => {
    const server = await inspectServer(client);
    checkServer(server);
    await requireRunner(client, server.user);
    await requireSchema(client);
    const slotName = settings.slotName ?? defaultSlotName(server.database);
    const { plugin } = checkSlot(await findSlot(client, slotName), slotName, server.database);
    return { slotName, plugin, name: server.database, ...(await databaseIdentity(connection)) };
  });
  const injector = settings.injectorStore;
  if (injector && !(await isSame(injector, connection, identity))) {
    const name = 'PGSTREAM_INJECTOR_STORE_POSTGRES_URL';
    throw new PgstreamError('other_store', `${name} names another database than the source`, {
      hint: 'The schema log is kept in the source database.',
      exitCode: exitCode.usage,
    });
  }
  const store = await openStore(settings, identity);
  const { slotName, plugin, name: database, system } = identity;
  return { connection, store, slotName, plugin, database, system };
}

/** The database that subscriptions are kept in, if that is another one. It may be away. */
async function openStore(
  { store, source }: Settings,
  identity: DatabaseIdentity,
): Promise<Connection | undefined> {
  if (!store) return undefined;
  try {
    if (await isSame(store, source, identity)) return undefined;
    await withClient(store, (client) => requireStoreSchema(client, store));
  } catch (error) {
    if (!(error instanceof PgstreamError) || error.exitCode !== exitCode.cannotConnect) throw error;
  }
  return store;
}

async function requireStoreSchema(client: pg.Client, store: Connection): Promise<void> {
  await requireSchema(client).catch((error: PgstreamError) => {
    throw new PgstreamError(error.code, `the store of the subscriptions: ${error.message}`, {
      hint: `pgstream init --migrations-only --pgurl ${store.describe()}`,
      exitCode: error.exitCode,
      cause: error,
    });
  });
}

const isSame = async (other: Connection, source: Connection, identity: DatabaseIdentity) => {
  if (other.describe() === source.describe()) return true;
  const { system, database } = await databaseIdentity(other);
  return system === identity.system && database === identity.database;
};

/** Refuses a role that would see, by the row-level security of ours, but a part of what there is. */
async function requireRunner(client: pg.Client, user: string): Promise<void> {
  const { rows } = await client.query<{ may: boolean | null }>(
    `select case
       when not has_schema_privilege(to_regnamespace('pgstream'), 'usage') then false
       else has_function_privilege(to_regprocedure('pgstream._runner()'), 'execute')
     end as may`,
  );
  // null where there is no schema, or none of this version: that is said elsewhere.
  if (rows[0]!.may ?? true) return;
  throw new PgstreamError('42501', `role "${user}" may not run pgstream`, {
    hint: `As an administrator: select pgstream.grant_runner('${user}');`,
  });
}

/**
 * A pool for the runner's queries. Its connections are kept, so that `onLost` tells at once when the
 * server goes away: a fast stop of Postgres waits until the replication stream is closed as well.
 */
export function openPool(connection: Connection, onLost: () => void = () => undefined): Sql {
  return postgres({
    ...postgresOptions(connection),
    max: 4,
    max_lifetime: null,
    onclose: onLost,
  });
}

/**
 * A pool for requests of others over HTTP: apart from that of the runner, which must not wait behind
 * them, and left where there are none. No statement waits for ever for what somebody has locked; a
 * quarter of lock_timeout, which is what our own locks are waited for, is more than they take by default.
 */
export function openServingPool(connection: Connection): Sql {
  const options = postgresOptions(connection);
  return postgres({
    ...options,
    max: 4,
    idle_timeout: 30,
    connection: { ...options.connection, lock_timeout: 5_000, statement_timeout: 10_000 },
  });
}

interface DatabaseIdentity {
  readonly system: bigint;
  readonly database: string;
}

function databaseIdentity(connection: Connection): Promise<DatabaseIdentity> {
  return withClient(connection, async (client) => {
    const { rows } = await client.query<{ system: string; database: string }>(
      `select system_identifier::text as system, oid::text as database
       from pg_control_system(), pg_database where datname = current_database()`,
    );
    return { system: BigInt(rows[0]!.system), database: rows[0]!.database };
  });
}

/** Where the slot is confirmed up to. */
export async function slotPosition(sql: Sql, slotName: string): Promise<Lsn> {
  const [row] = await sql<{ position: string }[]>`
    select confirmed_flush_lsn::text as position
    from pg_replication_slots where slot_name = ${slotName}`;
  return parseLsn(row?.position ?? '0/0');
}
