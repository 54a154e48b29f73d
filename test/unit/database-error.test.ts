import { createServer, type AddressInfo } from 'node:net';
import pg from 'pg';
import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { PgstreamError, exitCode } from '../../src/errors.js';
import {
  pgOptions,
  postgresOptions,
  resolveConnection,
  type Connection,
} from '../../src/settings/connection.js';
import { databaseError } from '../../src/settings/database-error.js';

const connection = resolveConnection('postgres://ann:hunter2@db.example:6000/shop', {});

const serverError = (code: string, message: string, more = {}) =>
  Object.assign(new Error(message), { severity: 'ERROR', code, ...more });

async function viaPg(to: Connection): Promise<unknown> {
  const client = new pg.Client(pgOptions(to));
  return client.connect().then(
    () => client.end(),
    (error: unknown) => error,
  );
}

async function viaPostgres(to: Connection): Promise<unknown> {
  const sql = postgres(postgresOptions(to));
  try {
    return await sql`select 1`.catch((error: unknown) => error);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('where connecting failed', () => {
  test.each([
    ['28P01', 'password authentication failed for user "ann"', 'password'],
    ['28000', 'no pg_hba.conf entry for host "1.2.3.4", no encryption', 'sslmode=require'],
    ['28000', 'role "ann" does not exist', 'pg_hba.conf'],
    ['3D000', 'database "shop" does not exist', 'createdb shop'],
    ['53300', 'sorry, too many clients already', 'max_connections'],
    ['57P03', 'the database system is starting up', 'again'],
    ['57P01', 'terminating connection due to administrator command', 'again'],
    ['08P01', 'unsupported startup parameter: extra_float_digits', 'pooler'],
  ])('%s (%s) says what the server said and what to do', (code, message, hint) => {
    expect(databaseError(serverError(code, message), connection)).toMatchObject({
      code,
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
      exitCode: exitCode.cannotConnect,
    });
  });

  test.each([
    ['ECONNREFUSED', 'connect ECONNREFUSED 1.2.3.4:6000', 'nothing listens there'],
    ['ENOTFOUND', 'getaddrinfo ENOTFOUND db.example', 'cannot be resolved'],
    ['EAI_AGAIN', 'getaddrinfo EAI_AGAIN db.example', 'cannot be resolved'],
    ['ETIMEDOUT', 'connect ETIMEDOUT 1.2.3.4:6000', 'no answer'],
    ['CONNECT_TIMEOUT', 'write CONNECT_TIMEOUT db.example:6000', 'no answer'],
    ['CONNECTION_CLOSED', 'write CONNECTION_CLOSED db.example:6000', 'lost the connection'],
    ['ECONNRESET', 'Client network socket disconnected before secure TLS', 'not accept TLS'],
  ])('%s is explained, with a hint and the place', (code, message, reason) => {
    const error = databaseError(Object.assign(new Error(message), { code }), connection);
    expect(error).toMatchObject({ code, exitCode: exitCode.cannotConnect });
    expect(error.message).toContain(reason);
    expect(error.message).toContain('postgres://ann@db.example:6000/shop');
    expect(error.message).not.toContain('hunter2');
    expect(error.hint).toMatch(/\.$/);
  });

  test('an error of pg without a code gets one', () => {
    const refused = new Error('The server does not support SSL connections');
    const ended = new Error('Connection terminated unexpectedly');
    expect(databaseError(refused, connection)).toMatchObject({ code: 'connection_failed' });
    expect(databaseError(ended, connection)).toMatchObject({ code: 'connection_lost' });
  });

  test('a certificate that is not trusted leads to sslrootcert', () => {
    const secure = resolveConnection('postgres://ann@db.example/shop?sslmode=verify-full', {});
    const error = Object.assign(new Error('self-signed certificate'), {
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    });
    expect(databaseError(error, secure)).toMatchObject({
      message: expect.stringContaining('self-signed certificate'),
      hint: expect.stringContaining('sslrootcert'),
      exitCode: exitCode.cannotConnect,
    });
  });

  test('a missing password is told from a wrong one', () => {
    const without = resolveConnection('postgres://ann@db.example/shop', {});
    const failed = serverError('28P01', 'password authentication failed for user "ann"');
    const local = new Error('SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string');
    expect(databaseError(failed, without).hint).toContain('No password was given');
    expect(databaseError(local, without).hint).toContain('No password was given');
    expect(databaseError(failed, connection).hint).toContain('Check the user and the password');
  });

  test.each([
    ['pg', viaPg],
    ['postgres', viaPostgres],
  ])('%s reports a closed port of localhost, tried on both its addresses', async (_, connect) => {
    const to = resolveConnection(`postgres://ann@localhost:${await unusedPort()}`, {});
    expect(databaseError(await connect(to), to)).toMatchObject({
      code: 'ECONNREFUSED',
      message: `cannot connect to ${to.describe()}: nothing listens there`,
      exitCode: exitCode.cannotConnect,
    });
  });

  test('the two refusals of localhost count as one', () => {
    const refused = (address: string) =>
      Object.assign(new Error(`connect ECONNREFUSED ${address}`), { code: 'ECONNREFUSED' });
    const both = new AggregateError([refused('::1:5432'), refused('127.0.0.1:5432')]);
    expect(databaseError(both, connection)).toMatchObject({ code: 'ECONNREFUSED', cause: both });
  });
});

describe('any other error of the server', () => {
  const inUse = serverError('55006', 'database "shop" is being accessed by other users', {
    detail: 'There is 1 other session using the database.',
    hint: 'End it.',
  });

  test('keeps its SQLSTATE, message, DETAIL and HINT, and is a failure', () => {
    expect(databaseError(inUse, connection)).toMatchObject({
      code: '55006',
      message:
        'database "shop" is being accessed by other users ' +
        '(There is 1 other session using the database.)',
      hint: 'End it.',
      exitCode: exitCode.failed,
      cause: inUse,
    });
  });

  test('keeps a DETAIL to itself that is a row', () => {
    const duplicate = serverError('23505', 'duplicate key value violates unique constraint "x"', {
      detail: 'Key (id)=(1) already exists.',
    });
    expect(databaseError(duplicate, connection).message).toBe(
      'duplicate key value violates unique constraint "x"',
    );
  });

  test('is left alone when it is one of ours already', () => {
    const ours = new PgstreamError('x', 'y');
    expect(databaseError(ours, connection)).toBe(ours);
  });
});
