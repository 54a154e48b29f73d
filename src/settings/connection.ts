import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { ClientConfig } from 'pg';
import pgpass from 'pgpass';
import type postgres from 'postgres';
import {
  connectionVariables,
  multipleHosts,
  parseConnectionUrl,
  type ConnectionParameter,
  type ConnectionParameters,
} from './connection-url.js';
import { usageError } from './usage.js';

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

interface Tls {
  rejectUnauthorized: boolean;
  /** The name that the certificate is checked against. */
  host: string;
  ca?: string;
  cert?: string;
  key?: string;
  checkServerIdentity?: () => undefined;
}

/** How to reach one Postgres database. */
export interface Connection {
  /** A host name, an address, or the directory of a Unix socket. */
  host: string;
  port: number;
  user: string;
  /** Without one, `~/.pgpass` is searched when the server asks. */
  password: string | undefined;
  /** Left out, the server takes the database that is named like the user. */
  database: string | undefined;
  ssl: false | Tls;
  applicationName: string;
  /** In milliseconds; 0 waits for ever. */
  connectTimeout: number;
  /** The connection as a URL without its password, for logs and errors. */
  describe(): string;
}

/**
 * What every session of ours is pinned to, so that the text of a value never depends on settings
 * of the role, the database or the server.
 *
 * Invariant: no statement of ours can be captured by an object outside pg_catalog. Functions and
 * operators are looked up by name in the search_path, and the best match wins wherever it stands: with
 * `public` in the path, whoever may create in it runs code as the role of the session. So the path
 * leads nowhere else; `pg_temp` is named because it would come first otherwise. A statement names
 * whatever is not of pg_catalog by its schema.
 *
 * @see https://www.postgresql.org/docs/current/runtime-config-client.html
 */
export const sessionSettings = {
  timezone: 'UTC',
  datestyle: 'ISO',
  intervalstyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
  search_path: 'pg_catalog, pg_temp',
  quote_all_identifiers: 'off',
  default_transaction_isolation: 'read committed',
  client_encoding: 'UTF8',
} as const;

/**
 * The search_path that decides how values print that are names, such as those of regclass: objects of
 * `public` bare, others qualified. It is set where rows are printed and nowhere else: on the connection
 * that streams, which runs no SQL, and for the COPY of a snapshot, which names everything, operators
 * and types too, by its schema.
 */
export const printingPath = 'public';

function describe(this: Connection): string {
  const isSocket = this.host.startsWith('/');
  const host = this.host.includes(':') ? `[${this.host}]` : this.host;
  return [
    `postgres://${encodeURIComponent(this.user)}@`,
    isSocket ? '' : `${host}:${this.port}`,
    this.database === undefined ? '' : `/${encodeURIComponent(this.database)}`,
    isSocket ? `?host=${this.host}&port=${this.port}` : '',
  ].join('');
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    throw usageError(
      'no_user',
      'no database user is given, and the system has no name for the current one',
      'Name the user in the connection URL or in PGUSER.',
    );
  }
}

function readPem(path: string, origin: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw usageError(
      'unreadable_file',
      `${origin} names ${path}, which cannot be read (${(error as NodeJS.ErrnoException).code})`,
      'Correct the path, or the permissions of the file.',
    );
  }
}

function wholeNumber(text: string, origin: string, least: number, most: number): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < least || number > most) {
    throw usageError(
      'invalid_connection',
      `${origin} is not a whole number from ${least} to ${most}`,
      'Correct it, or leave it out.',
    );
  }
  return number;
}

function tls(
  host: string,
  given: ConnectionParameters,
  origin: (name: ConnectionParameter) => string,
): false | Tls {
  const mode = given.sslmode ?? 'prefer';
  const pem = (name: 'sslrootcert' | 'sslcert' | 'sslkey') =>
    given[name] && readPem(given[name], origin(name));

  if (!['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'].includes(mode)) {
    throw usageError(
      'invalid_connection',
      `${origin('sslmode')} is "${mode}"`,
      'Use disable, prefer, require, verify-ca or verify-full.',
    );
  }
  if (['disable', 'allow', 'prefer'].includes(mode) || host.startsWith('/')) return false;

  const ca = given.sslrootcert === 'system' ? undefined : pem('sslrootcert');
  const cert = pem('sslcert');
  const key = pem('sslkey');
  return {
    rejectUnauthorized: mode !== 'require' || given.sslrootcert !== undefined,
    host,
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(mode !== 'verify-full' &&
      given.sslrootcert !== 'system' && { checkServerIdentity: () => undefined }),
  };
}

/**
 * Works out how to connect. `url` wins over DATABASE_URL; what the URL leaves out is taken from
 * libpq's PG* variables, then from the defaults: localhost, port 5432, the system's user, ten
 * seconds to connect.
 *
 * `sslmode`: `disable`, `allow`, `prefer` and none at all connect without TLS, for nothing falls
 * back in silence here. `require` encrypts without looking at the certificate, unless `sslrootcert`
 * is given: then it is `verify-ca`, as in libpq. `verify-ca` checks who signed the certificate,
 * `verify-full` its name as well, by `sslrootcert` or by the authorities that Node trusts.
 *
 * @throws a usage error that never contains the password.
 * @see https://www.postgresql.org/docs/current/libpq-envars.html
 */
export function resolveConnection(url: string | undefined, env: Environment): Connection {
  const text = url || env['DATABASE_URL'];
  const fromUrl = text ? parseConnectionUrl(text) : {};
  const fromVariables = Object.fromEntries(
    Object.entries(connectionVariables)
      .map(([name, variable]) => [name, env[variable]] as const)
      .filter(([, value]) => value),
  );
  const given: ConnectionParameters = { ...fromVariables, ...fromUrl };
  const origin = (name: ConnectionParameter) =>
    fromUrl[name] === undefined ? connectionVariables[name] : `the ${name} of the connection URL`;

  const host = given.host ?? 'localhost';
  if (host.includes(',')) throw multipleHosts(origin('host'));
  return {
    host,
    port: wholeNumber(given.port ?? '5432', origin('port'), 1, 65_535),
    user: given.user ?? systemUser(),
    password: given.password,
    database: given.dbname,
    ssl: tls(host, given, origin),
    applicationName: given.application_name ?? 'pgstream',
    connectTimeout:
      wholeNumber(given.connect_timeout ?? '10', origin('connect_timeout'), 0, 86_400) * 1000,
    describe,
  };
}

const passwordFromFile = ({ host, port, user, database = user }: Connection) =>
  new Promise<string>((resolve) => {
    pgpass({ host, port, user, database }, (password) => resolve(password ?? ''));
  });

/** Options for `pg`, with the session pinned to `sessionSettings`. */
export const pgOptions = (connection: Connection): ClientConfig =>
  pinnedOptions(connection, sessionSettings);

/** Options for `pg` that open a walsender, which takes replication commands. */
export const walsenderOptions = (
  connection: Connection,
  pinned: Readonly<Record<string, string>> = sessionSettings,
): ClientConfig =>
  // `replication` is a startup parameter that the type declarations of `pg` leave out.
  Object.assign(pinnedOptions(connection, pinned), { replication: 'database' });

/** The same for the connection that streams rows: it prints them, and runs no SQL. */
export const streamOptions = (connection: Connection): ClientConfig =>
  walsenderOptions(connection, { ...sessionSettings, search_path: printingPath });

function pinnedOptions(
  connection: Connection,
  pinned: Readonly<Record<string, string>>,
): ClientConfig {
  const { host, port, user, password, database = user, ssl } = connection;
  const settings = Object.entries(pinned).map(
    ([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`,
  );
  return {
    host,
    port,
    user,
    password: password ?? (() => passwordFromFile(connection)),
    database,
    ssl: ssl && { ...ssl },
    application_name: connection.applicationName,
    connectionTimeoutMillis: connection.connectTimeout,
    keepAlive: true,
    options: settings.join(' '),
  };
}

/** The same for `postgres`. Notices are dropped, unless the caller sets `onnotice`. */
export function postgresOptions(
  connection: Connection,
): postgres.Options<Record<string, postgres.PostgresType>> {
  const { host, port, user, password, database = user, ssl } = connection;
  return {
    // Lists, which the types leave out: a single host is cut at its colons, also an IPv6 address.
    host: [host] as unknown as string,
    port: [port] as unknown as number,
    ...(host.startsWith('/') && { path: `${host}/.s.PGSQL.${port}` }),
    user,
    password: password ?? (() => passwordFromFile(connection)),
    database,
    ssl: ssl && { ...ssl },
    connect_timeout: connection.connectTimeout / 1000,
    connection: { ...sessionSettings, application_name: connection.applicationName },
    onnotice: () => undefined,
    // Looking up array types when a connection opens is a query whose failure nobody catches.
    fetch_types: false,
  };
}
