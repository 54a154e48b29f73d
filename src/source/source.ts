/** The source database as the runner sees it: found fit to stream from, and ready for queries. */
import type pg from 'pg';
import postgres, { type Sql } from 'postgres';
import { PgstreamError, exitCode } from '../errors.js';
import { checkReplicationConnection, checkServer, inspectServer } from '../install/preflight.js';
import { requireSchema, withClient } from '../install/schema.js';
import { checkSlot, findSlot } from '../install/slot.js';
import { parseLsn, type Lsn } from '../replication/lsn.js';
import { postgresOptions, type Connection } from '../settings/connection.js';
import type { Settings } from '../settings/settings.js';
import { defaultSlotName } from '../settings/slot-name.js';

export interface Source {
  readonly connection: Connection;
  readonly slotName: string;
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
    checkSlot(await findSlot(client, slotName), slotName, server.database);
    return { slotName, ...(await databaseIdentity(connection)) };
  });
  for (const [name, other] of [
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_URL', settings.store],
    ['PGSTREAM_INJECTOR_STORE_POSTGRES_URL', settings.injectorStore],
  ] as const) {
    if (!other || other.describe() === connection.describe()) continue;
    const { system, database } = await databaseIdentity(other);
    if (system !== identity.system || database !== identity.database) {
      throw new PgstreamError('other_store', `${name} names another database than the source`, {
        hint: 'This version keeps subscriptions and the schema log in the source database.',
        exitCode: exitCode.usage,
      });
    }
  }
  return { connection, slotName: identity.slotName, system: identity.system };
}

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
export function openPool(connection: Connection, onLost: () => void): Sql {
  return postgres({
    ...postgresOptions(connection),
    max: 4,
    max_lifetime: null,
    onclose: onLost,
  });
}

function databaseIdentity(connection: Connection): Promise<{ system: bigint; database: string }> {
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
