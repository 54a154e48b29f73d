import { usageError } from './usage.js';

/** What a connection URL may say, under libpq's names, and the variable that stands in for each. */
export const connectionVariables = {
  host: 'PGHOST',
  port: 'PGPORT',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  dbname: 'PGDATABASE',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  application_name: 'PGAPPNAME',
  connect_timeout: 'PGCONNECT_TIMEOUT',
} as const;

export type ConnectionParameter = keyof typeof connectionVariables;
export type ConnectionParameters = Partial<Record<ConnectionParameter, string>>;

const urlError = (message: string, hint: string) =>
  usageError('invalid_connection_url', message, hint);

/** Refuses a list of hosts: a slot lives on one server, the primary. */
export const multipleHosts = (origin: string) =>
  urlError(`${origin} names more than one host`, 'Name the primary server only.');

const escapeHint =
  'Percent-encode @ : / ? # and % in user name and password (@ is %40); put an IPv6 address in [ ].';

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw urlError(
      'the connection URL has a % that is not followed by two hexadecimal digits',
      'Write a literal % as %25.',
    );
  }
}

const isParameter = (name: string): name is ConnectionParameter =>
  Object.hasOwn(connectionVariables, name);

function queryParameters(query: string): ConnectionParameters {
  const found: ConnectionParameters = {};
  for (const pair of query.split('&').filter(Boolean)) {
    const [name = '', ...value] = pair.split('=').map(decode);
    if (!isParameter(name)) {
      throw urlError(
        `the connection URL has the parameter "${name}", which is not supported`,
        `Remove it; supported are ${Object.keys(connectionVariables).join(', ')}.`,
      );
    }
    found[name] = value.join('=');
  }
  return found;
}

/**
 * Reads a `postgres://` URL as libpq does, without filling in what it leaves out. Empty parts count
 * as left out. Text of the URL is repeated in an error only where it cannot be part of a password.
 *
 * @throws a usage error.
 * @see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
export function parseConnectionUrl(text: string): ConnectionParameters {
  const url = text.trim();
  if (!/^postgres(ql)?:\/\//.test(url)) {
    throw /^\w+\s*=/.test(url)
      ? urlError(
          'a connection string of the form key=value is not supported',
          'Write it as a URL: postgres://user:password@host:5432/database',
        )
      : urlError(
          'the connection URL does not begin with postgres:// or postgresql://',
          'Write postgres://user:password@host:5432/database',
        );
  }

  const parts = /^\w+:\/\/([^/?#]*)(?:\/([^?#@]*))?(?:\?([^#@]*))?$/.exec(url);
  const authority = parts?.[1] ?? '';
  const at = authority.lastIndexOf('@');
  const address = authority.slice(at + 1);
  if (address.includes(',')) throw multipleHosts('the connection URL');
  const hostAndPort = /^(\[[^[\]]+\]|[^:[\]]*)(?::(\d*))?$/.exec(address);
  if (!parts || !hostAndPort) throw urlError('the connection URL cannot be read', escapeHint);

  const [user = '', ...password] = authority.slice(0, Math.max(at, 0)).split(':');
  const parameters = {
    host: decode(hostAndPort[1]!.replace(/^\[|\]$/g, '')),
    port: hostAndPort[2] ?? '',
    user: decode(user),
    password: decode(password.join(':')),
    dbname: decode(parts[2] ?? ''),
    ...queryParameters(parts[3] ?? ''),
  };
  return Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== ''));
}
