import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  pgOptions,
  postgresOptions,
  resolveConnection,
  sessionSettings,
  streamOptions,
  walsenderOptions,
} from '../../src/settings/connection.js';

const directory = mkdtempSync(join(tmpdir(), 'connection-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function failure(url: string | undefined, env = {}) {
  try {
    resolveConnection(url, env);
  } catch (error) {
    return error as Error & { hint: string };
  }
  throw new Error(`${url} was accepted`);
}

describe('a connection URL', () => {
  test('may leave out the database', () => {
    const connection = resolveConnection(
      'postgres://postgres:postgres@localhost:5432?sslmode=disable',
      {},
    );
    expect(connection).toMatchObject({
      host: 'localhost',
      port: 5432,
      user: 'postgres',
      password: 'postgres',
      database: undefined,
      ssl: false,
      applicationName: 'pgstream',
      connectTimeout: 10_000,
    });
    expect(connection.describe()).toBe('postgres://postgres@localhost:5432');
  });

  test('may leave out everything', () => {
    expect(resolveConnection('postgres://', {})).toMatchObject({
      host: 'localhost',
      port: 5432,
      user: userInfo().username,
      password: undefined,
      database: undefined,
    });
  });

  test('says all that it can say', () => {
    const url =
      'postgresql://ann@db.example:6000/shop?application_name=a+b%20c&connect_timeout=3&sslmode=prefer';
    expect(resolveConnection(url, {})).toMatchObject({
      host: 'db.example',
      port: 6000,
      user: 'ann',
      database: 'shop',
      ssl: false,
      applicationName: 'a+b c',
      connectTimeout: 3000,
    });
  });

  test('holds any user, password and database, percent-encoded', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1 });
    fc.assert(
      fc.property(text, text, text, (user, password, database) => {
        const [u, p, d] = [user, password, database].map(encodeURIComponent);
        expect(resolveConnection(`postgres://${u}:${p}@h/${d}`, {})).toMatchObject({
          user,
          password,
          database,
        });
      }),
    );
  });

  test.each([
    ['postgres://u@[::1]:6000/d', '::1', 6000, 'postgres://u@[::1]:6000/d'],
    ['postgres://u@%2Ftmp%2Fpg/d', '/tmp/pg', 5432, 'postgres://u@/d?host=/tmp/pg&port=5432'],
    ['postgres://u@/d?host=/tmp/pg', '/tmp/pg', 5432, 'postgres://u@/d?host=/tmp/pg&port=5432'],
    ['postgres://u@:6000/d', 'localhost', 6000, 'postgres://u@localhost:6000/d'],
  ])('%s leads to host %s, port %d', (url, host, port, described) => {
    const connection = resolveConnection(url, {});
    expect(connection).toMatchObject({ host, port });
    expect(connection.describe()).toBe(described);
  });

  test.each([
    ['host=localhost password=hunter2', 'key=value'],
    ['mysql://root:hunter2@localhost/d', 'postgres://'],
    ['localhost:5432', 'postgres://'],
    ['postgres://h1:5432,h2:5432/d', 'more than one host'],
    ['postgres://u@/d?host=h1,h2', 'more than one host'],
    ['postgres://u@h:x/d', 'cannot be read'],
    ['postgres://u@h:70000/d', 'port'],
    ['postgres://u@::1/d', 'cannot be read'],
    ['postgres://u:%zz@h/d', 'hexadecimal'],
    ['postgres://u@h/d?connect_timeout=soon', 'connect_timeout'],
    ['postgres://u@h/d?sslmode=maybe', 'sslmode'],
    ['postgres://u@h/d?sslmode=verify-full&sslrootcert=/none', 'sslrootcert'],
  ])('%s is refused as wrong usage, with a hint', (url, words) => {
    expect(failure(url)).toMatchObject({
      message: expect.stringContaining(words),
      hint: expect.stringMatching(/^[A-Z]/),
      exitCode: 2,
    });
  });

  test('with an unknown parameter is refused, and the parameter named', () => {
    const error = failure('postgres://u@h/d?channel_binding=require');
    expect(error.message).toContain('"channel_binding"');
    expect(error.hint).toContain('sslrootcert');
  });

  test('never shows its password in an error, however it is broken', () => {
    const secret = fc.stringMatching(/^[a-z]{6}[@:/?#%&=,]{1,3}[a-z]{6}$/);
    const tail = fc.constantFrom('@h/d', '@h:x/d', '@h1,h2/d', '@h/d?nope=1', '@h:99999/d');
    fc.assert(
      fc.property(secret, tail, (password, rest) => {
        try {
          const connection = resolveConnection(`postgres://u:${password}${rest}`, {});
          expect(connection.password).toBe(decodeURIComponent(password));
          expect(connection.describe()).not.toMatch(password.slice(0, 6));
        } catch (error) {
          const shown = inspect(error, { depth: 5 });
          expect(shown).not.toContain(password.slice(0, 6));
          expect(shown).not.toContain(password.slice(-6));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the environment', () => {
  const env = {
    PGHOST: 'db.example',
    PGPORT: '6000',
    PGUSER: 'ann',
    PGPASSWORD: 'hunter2',
    PGDATABASE: 'shop',
    PGAPPNAME: 'mine',
    PGCONNECT_TIMEOUT: '4',
  };

  test('serves alone where there is no URL', () => {
    expect(resolveConnection(undefined, env)).toMatchObject({
      host: 'db.example',
      port: 6000,
      user: 'ann',
      password: 'hunter2',
      database: 'shop',
      applicationName: 'mine',
      connectTimeout: 4000,
    });
  });

  test('fills in what a URL leaves out', () => {
    expect(resolveConnection('postgres://bob@other', env)).toMatchObject({
      host: 'other',
      port: 6000,
      user: 'bob',
      password: 'hunter2',
      database: 'shop',
    });
  });

  test('names the database by DATABASE_URL unless a URL is given', () => {
    const both = { ...env, DATABASE_URL: 'postgres://carl@third/d' };
    expect(resolveConnection(undefined, both)).toMatchObject({ host: 'third', user: 'carl' });
    expect(resolveConnection('', both)).toMatchObject({ host: 'third' });
    expect(resolveConnection('postgres://bob@other', both)).toMatchObject({ host: 'other' });
  });

  test('is named by the variable that is wrong', () => {
    expect(failure(undefined, { PGPORT: 'x' }).message).toContain('PGPORT');
    expect(failure(undefined, { PGSSLMODE: 'x' }).message).toContain('PGSSLMODE');
    expect(failure(undefined, { PGHOST: 'a,b' }).message).toContain('PGHOST');
  });
});

describe('sslmode', () => {
  const ca = file('ca.pem', 'the authority');
  const ssl = (query: string) => resolveConnection(`postgres://u@h/d?${query}`, {}).ssl;

  test.each(['', 'sslmode=disable', 'sslmode=allow', 'sslmode=prefer'])(
    '"%s" connects without TLS',
    (query) => {
      expect(ssl(query)).toBe(false);
    },
  );

  test('require encrypts and looks at no certificate', () => {
    expect(ssl('sslmode=require')).toMatchObject({ rejectUnauthorized: false, host: 'h' });
  });

  test('require with an authority checks the signature, as libpq does', () => {
    expect(ssl(`sslmode=require&sslrootcert=${ca}`)).toMatchObject({
      rejectUnauthorized: true,
      ca: 'the authority',
      checkServerIdentity: expect.any(Function),
    });
  });

  test('verify-ca checks the signature only, verify-full the name as well', () => {
    expect(ssl(`sslmode=verify-ca&sslrootcert=${ca}`)).toMatchObject({
      rejectUnauthorized: true,
      ca: 'the authority',
      checkServerIdentity: expect.any(Function),
    });
    expect(ssl(`sslmode=verify-full&sslrootcert=${ca}`)).toEqual({
      rejectUnauthorized: true,
      host: 'h',
      ca: 'the authority',
    });
  });

  test('verify-full trusts what Node trusts when no authority is named', () => {
    expect(ssl('sslmode=verify-full')).toEqual({ rejectUnauthorized: true, host: 'h' });
    expect(ssl('sslmode=verify-full&sslrootcert=system')).toEqual(ssl('sslmode=verify-full'));
  });

  test('carries the certificate of the client', () => {
    const cert = file('client.crt', 'a certificate');
    const key = file('client.key', 'a key');
    expect(ssl(`sslmode=require&sslcert=${cert}&sslkey=${key}`)).toMatchObject({
      cert: 'a certificate',
      key: 'a key',
    });
  });

  test('comes from PGSSLMODE and PGSSLROOTCERT too', () => {
    const env = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: ca };
    expect(resolveConnection('postgres://u@h/d', env).ssl).toMatchObject({ ca: 'the authority' });
  });

  test('means nothing to a Unix socket', () => {
    expect(ssl('sslmode=require&host=/tmp')).toBe(false);
  });
});

describe('the options of a driver', () => {
  const url = 'postgres://ann:hunter2@db.example:6000?application_name=mine&connect_timeout=3';
  const connection = resolveConnection(url, {});

  test('for pg pin every session setting', () => {
    const options = pgOptions(connection);
    expect(options).toMatchObject({
      host: 'db.example',
      port: 6000,
      user: 'ann',
      password: 'hunter2',
      database: 'ann',
      application_name: 'mine',
      connectionTimeoutMillis: 3000,
      ssl: false,
    });
    for (const [name, value] of Object.entries(sessionSettings)) {
      expect(options.options).toContain(`-c ${name}=${value.replace(' ', '\\ ')}`);
    }
  });

  test('for pg on the connection that streams print names as with public in the path', () => {
    const { options, ...others } = streamOptions(connection);
    const { options: pinned, ...usual } = pgOptions(connection);
    expect(others).toEqual({ ...usual, replication: 'database' });
    expect(options).toBe(pinned!.replace('pg_catalog,\\ pg_temp', 'public'));
    expect(walsenderOptions(connection)).toMatchObject({
      options: pinned,
      replication: 'database',
    });
  });

  test('for postgres pin every session setting', () => {
    expect(postgresOptions(connection)).toMatchObject({
      host: ['db.example'],
      port: [6000],
      user: 'ann',
      password: 'hunter2',
      database: 'ann',
      connect_timeout: 3,
      ssl: false,
      connection: { ...sessionSettings, application_name: 'mine' },
    });
  });

  test('lead postgres to the socket of a directory', () => {
    const local = resolveConnection('postgres://ann@/shop?host=/tmp/pg&port=6000', {});
    expect(postgresOptions(local).path).toBe('/tmp/pg/.s.PGSQL.6000');
    expect(pgOptions(local).host).toBe('/tmp/pg');
  });

  test('look a password up when none is given', () => {
    const without = resolveConnection('postgres://ann@db.example', {});
    expect(pgOptions(without).password).toBeTypeOf('function');
    expect(postgresOptions(without).password).toBeTypeOf('function');
  });

  test('hold their own copy of the TLS options, since pg changes its copy', () => {
    const secure = resolveConnection('postgres://ann@db.example?sslmode=require', {});
    expect(pgOptions(secure).ssl).toEqual(secure.ssl);
    expect(pgOptions(secure).ssl).not.toBe(secure.ssl);
  });
});
