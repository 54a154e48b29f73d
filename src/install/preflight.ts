/** Finds what would make an installation fail, before anything is changed. */
import pg from 'pg';
import { exitCode, PgstreamError } from '../errors.js';
import { walsenderOptions, type Connection } from '../settings/connection.js';

export interface Server {
  readonly version: number;
  readonly walLevel: string;
  readonly user: string;
  readonly database: string;
  readonly superuser: boolean;
  readonly replication: boolean;
  readonly mayCreate: boolean;
  readonly freeSlots: number;
}

export async function inspectServer(client: pg.Client): Promise<Server> {
  const { rows } = await client.query<Server>(`
    select current_setting('server_version_num')::integer as version,
           current_setting('wal_level') as "walLevel",
           current_user as user, current_database() as database,
           r.rolsuper as superuser,
           r.rolreplication or exists (
             select from pg_roles m
             where m.rolname in ('rds_replication', 'azure_pg_admin', 'cloudsqlsuperuser')
               and pg_has_role(m.oid, 'member')
           ) as replication,
           has_database_privilege(current_database(), 'create') as "mayCreate",
           current_setting('max_replication_slots')::integer
             - (select count(*) from pg_replication_slots)::integer as "freeSlots"
    from pg_roles r where r.rolname = current_user`);
  return rows[0]!;
}

/** Refuses a server that pgstream cannot read changes from at all. */
export function checkServer(server: Server): void {
  if (server.version < 140_000) {
    throw new PgstreamError('old_server', 'the server is older than PostgreSQL 14', {
      hint: 'Upgrade it; PostgreSQL 14 to 18 are supported.',
    });
  }
  if (server.walLevel !== 'logical') {
    throw new PgstreamError('wal_level', `wal_level is ${server.walLevel}, but must be logical`, {
      hint:
        "alter system set wal_level = 'logical'; then restart Postgres " +
        '(on a managed service: turn logical replication on in its settings).',
    });
  }
}

/** Refuses a role that could not install. */
export function checkInstaller(server: Server, needs: { schema: boolean; slot: boolean }): void {
  const { user, database } = server;
  if (needs.schema && !server.mayCreate) {
    throw new PgstreamError(
      '42501',
      `role "${user}" may not create a schema and publications in database "${database}"`,
      {
        hint: `As the owner of the database: grant create on database "${database}" to "${user}";`,
      },
    );
  }
  if (needs.slot && !server.superuser && !server.replication) {
    throw new PgstreamError('42501', `role "${user}" may not create a replication slot`, {
      hint:
        `As a superuser: alter role "${user}" replication; ` +
        `(on Amazon RDS: grant rds_replication to "${user}";)`,
    });
  }
  if (needs.slot && server.freeSlots < 1) {
    throw new PgstreamError('53400', 'all replication slots of the server are in use', {
      hint: 'Drop one that nobody uses, or raise max_replication_slots and restart Postgres.',
    });
  }
}

/** Refuses a connection that cannot stream, as through a pooler. Rejects with the driver's error. */
export async function checkReplicationConnection(connection: Connection): Promise<void> {
  const client = new pg.Client(walsenderOptions(connection));
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('IDENTIFY_SYSTEM');
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code !== '08P01' && code !== '42601') throw error;
    throw new PgstreamError('pooler', `replication is refused on this connection: ${message}`, {
      hint: 'Connect to Postgres itself, not to a connection pooler such as PgBouncer.',
      exitCode: exitCode.cannotConnect,
      cause: error,
    });
  } finally {
    await client.end().catch(() => undefined);
  }
}
