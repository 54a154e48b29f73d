import { PgstreamError, exitCode } from '../errors.js';
import type { Connection } from './connection.js';
import { isDetailARow } from './server-error.js';

interface Failure {
  code: string;
  message: string;
  /** Only a server's error has a severity. */
  severity?: string;
  detail?: string;
  hint?: string;
}

/** Node's error for a name with several addresses holds one error for each. */
function failureOf(error: unknown): Failure {
  if (error instanceof AggregateError) return failureOf(error.errors[0]);
  if (!(error instanceof Error)) return { code: 'unexpected', message: String(error) };
  return Object.assign({ code: '' }, error, { message: error.message });
}

const lost = ['57P01', '57P02', 'ECONNRESET', 'EPIPE', 'CONNECTION_CLOSED', 'CONNECTION_ENDED'];
const unanswered = ['ETIMEDOUT', 'CONNECT_TIMEOUT', 'EHOSTUNREACH', 'ENETUNREACH'];
const unresolved = ['ENOTFOUND', 'EAI_AGAIN', 'EAI_NODATA', 'EAI_FAIL'];

const passwordHint = ({ password }: Connection) =>
  password === undefined
    ? 'No password was given: put one in the connection URL, PGPASSWORD or ~/.pgpass.'
    : 'Check the user and the password in the connection URL, PGUSER and PGPASSWORD.';

/** Why connecting failed and what to do about it; undefined for an error of another kind. */
function explain(
  failure: Failure,
  connection: Connection,
): [reason: string, hint: string] | undefined {
  const { code, message } = failure;
  const { host, port, ssl, database = connection.user } = connection;

  if (code === 'ECONNREFUSED') {
    return ['nothing listens there', 'Start Postgres, or correct the host and the port.'];
  }
  if (host.startsWith('/') && (code === 'ENOENT' || code === 'EACCES')) {
    return [
      `the socket ${host}/.s.PGSQL.${port} cannot be opened (${code})`,
      'Start Postgres, or correct the socket directory and the port.',
    ];
  }
  if (unresolved.includes(code)) {
    return [`the host name "${host}" cannot be resolved (${code})`, 'Correct the host name.'];
  }
  if (unanswered.includes(code) || message === 'timeout expired') {
    return ['no answer', 'Check the host, the port and the firewalls in between.'];
  }
  if (/does not support SSL|before secure TLS|establishing an SSL/.test(message)) {
    return ['the server does not accept TLS', 'Use sslmode=disable, or turn ssl on in the server.'];
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return [message, 'Connect by a name in the certificate, or use sslmode=verify-ca.'];
  }
  if (ssl && /CERT|^UNABLE_TO_|^ERR_(TLS|SSL)/.test(code)) {
    return [
      `its certificate is not trusted (${message})`,
      'Name the authority with sslrootcert=FILE, or encrypt without checking: sslmode=require',
    ];
  }
  if (/client password must be a/.test(message)) {
    return ['the server asks for a password', passwordHint(connection)];
  }
  switch (code) {
    case '28P01':
      return [message, passwordHint(connection)];
    case '28000':
      return [
        message,
        message.includes('no encryption')
          ? 'Try sslmode=require, or add an entry for this client to pg_hba.conf.'
          : 'Check the user, and its entry in pg_hba.conf.',
      ];
    case '3D000':
      return [message, `Correct the name, or create it: createdb ${database}`];
    case '53300':
      return [message, 'End idle sessions, or raise max_connections (max_wal_senders for a slot).'];
    case '57P03':
      return [message, 'Try again in a moment.'];
    case '08P01':
      return message.includes('startup parameter')
        ? [message, 'Connect to Postgres itself, not to a connection pooler.']
        : undefined;
    default:
      return undefined;
  }
}

/**
 * Turns an error of `pg` or `postgres` into one that a user can act on. Where connecting failed or
 * the connection was lost, the exit code is 4; any other error of the server keeps its SQLSTATE,
 * message and HINT, and its DETAIL unless that is a row, with exit code 1.
 */
export function databaseError(error: unknown, connection: Connection): PgstreamError {
  if (error instanceof PgstreamError) return error;
  const failure = failureOf(error);
  const { code, message, detail } = failure;
  const explanation = explain(failure, connection);
  if (explanation) {
    const [reason, hint] = explanation;
    return new PgstreamError(
      code || 'connection_failed',
      `cannot connect to ${connection.describe()}: ${reason}`,
      { hint, exitCode: exitCode.cannotConnect, cause: error },
    );
  }
  if (lost.includes(code) || /^Connection terminated|is not queryable$/.test(message)) {
    const reason = failure.severity ? message : 'the server closed it';
    return new PgstreamError(
      code || 'connection_lost',
      `lost the connection to ${connection.describe()}: ${reason}`,
      { hint: 'Try again when the server is up.', exitCode: exitCode.cannotConnect, cause: error },
    );
  }
  const isDetailTold = detail && !isDetailARow(code);
  return new PgstreamError(
    code || 'unexpected',
    isDetailTold ? `${message} (${detail})` : message,
    {
      hint: failure.hint,
      cause: error,
    },
  );
}
