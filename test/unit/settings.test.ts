import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadSettings, type SettingsFlags } from '../../src/settings/settings.js';

const directory = mkdtempSync(join(tmpdir(), 'settings-'));
afterAll(() => rmSync(directory, { recursive: true }));

function configFile(content: string, name = 'pg.env'): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function failure(given: { flags?: SettingsFlags; env?: object; configFile?: string }) {
  try {
    loadSettings({ env: {}, ...given } as Parameters<typeof loadSettings>[0]);
  } catch (error) {
    return error as Error & { hint: string };
  }
  throw new Error('the settings were accepted');
}

describe('without any setting', () => {
  test('the defaults hold', () => {
    expect(loadSettings({ env: {} })).toMatchObject({
      source: { host: 'localhost', port: 5432 },
      slotName: undefined,
      store: undefined,
      storeCacheEnabled: true,
      storeRefreshInterval: 60_000,
      maxQueueBytes: 33_554_432,
      workerCount: undefined,
      clientTimeout: 10_000,
      server: {
        address: { host: '127.0.0.1', port: 9900 },
        readTimeout: 5_000,
        writeTimeout: 10_000,
        token: undefined,
      },
      injectorStore: undefined,
      reconcileInterval: 10_000,
      logLevel: 'info',
    });
  });
});

describe('the configuration file', () => {
  test('of the original is understood', () => {
    const file = configFile(`
# Listener config
PGSTREAM_POSTGRES_LISTENER_URL="postgres://postgres:postgres@localhost:5432?sslmode=disable"
PGSTREAM_POSTGRES_REPLICATION_SLOT_NAME=pgstream_tutorial_slot
PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_URL="postgres://postgres:postgres@localhost:5432?sslmode=disable"
PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_ENABLED=false
PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_REFRESH_INTERVAL="30s"
PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES=104857600
PGSTREAM_WEBHOOK_NOTIFIER_WORKER_COUNT=4
PGSTREAM_WEBHOOK_NOTIFIER_CLIENT_TIMEOUT=1m30s
PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS=":9900"
PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_READ_TIMEOUT=1s
PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_WRITE_TIMEOUT=2s
PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN=let-me-in
PGSTREAM_INJECTOR_STORE_POSTGRES_URL="postgres://postgres@localhost/other"
PGSTREAM_LOG_LEVEL=debug
SOMETHING_ELSE=1
`);
    expect(loadSettings({ env: {}, configFile: file })).toMatchObject({
      source: { host: 'localhost', user: 'postgres', password: 'postgres' },
      slotName: 'pgstream_tutorial_slot',
      store: { host: 'localhost', user: 'postgres' },
      storeCacheEnabled: false,
      storeRefreshInterval: 30_000,
      maxQueueBytes: 104_857_600,
      workerCount: 4,
      clientTimeout: 90_000,
      server: {
        address: { host: undefined, port: 9900 },
        readTimeout: 1_000,
        writeTimeout: 2_000,
        token: 'let-me-in',
      },
      injectorStore: { user: 'postgres', database: 'other' },
      logLevel: 'debug',
    });
  });

  test('may hold DATABASE_URL and PG*, below the environment', () => {
    const file = configFile('DATABASE_URL=postgres://ann@one\nPGPORT=6000\nPGDATABASE=shop');
    expect(loadSettings({ env: { PGPORT: '7000' }, configFile: file }).source).toMatchObject({
      host: 'one',
      user: 'ann',
      port: 7000,
      database: 'shop',
    });
  });

  test('that is missing is wrong usage', () => {
    expect(failure({ configFile: join(directory, 'none.env') })).toMatchObject({
      message: expect.stringContaining('none.env'),
      hint: expect.stringContaining('-c'),
      exitCode: 2,
    });
  });

  test('in YAML is refused, not read as empty', () => {
    expect(failure({ configFile: configFile('source: {}', 'pg.yaml') }).message).toContain('YAML');
  });
});

describe('precedence', () => {
  const file = configFile(
    'PGSTREAM_LOG_LEVEL=trace\nPGSTREAM_POSTGRES_LISTENER_URL=postgres://file\n' +
      'PGSTREAM_POSTGRES_REPLICATION_SLOT_NAME=from_file',
    'precedence.env',
  );
  const env = {
    PGSTREAM_LOG_LEVEL: 'warn',
    PGSTREAM_POSTGRES_LISTENER_URL: 'postgres://environment',
    PGSTREAM_POSTGRES_REPLICATION_SLOT_NAME: '',
    DATABASE_URL: 'postgres://general',
  };

  test('goes from the flag over the environment and the file to the default', () => {
    const flags = { pgurl: 'postgres://flag', logLevel: 'error' };
    expect(loadSettings({ flags, env, configFile: file })).toMatchObject({
      source: { host: 'flag' },
      logLevel: 'error',
    });
    expect(loadSettings({ env, configFile: file })).toMatchObject({
      source: { host: 'environment' },
      logLevel: 'warn',
    });
    expect(loadSettings({ env: {}, configFile: file })).toMatchObject({
      source: { host: 'file' },
      logLevel: 'trace',
    });
  });

  test('puts a PGSTREAM url of the file above DATABASE_URL of the environment', () => {
    const general = { DATABASE_URL: 'postgres://general' };
    expect(loadSettings({ env: general }).source.host).toBe('general');
    expect(loadSettings({ env: general, configFile: file }).source.host).toBe('file');
  });

  test('counts an empty value as not given', () => {
    expect(loadSettings({ env, configFile: file }).slotName).toBe('from_file');
  });
});

describe('a wrong value', () => {
  test.each([
    [{ flags: { logLevel: 'loud' } }, 'flag --log-level'],
    [{ flags: { replicationSlot: 'A' } }, 'flag --replication-slot'],
    [{ flags: { pgurl: 'x' } }, 'flag --pgurl'],
    [{ env: { PGSTREAM_LOG_LEVEL: 'loud' } }, 'environment PGSTREAM_LOG_LEVEL'],
    [{ env: { DATABASE_URL: 'x' } }, 'environment DATABASE_URL'],
    [{ env: { PGPORT: 'x' } }, 'PGPORT'],
    [
      { configFile: configFile('PGSTREAM_LOG_LEVEL=loud', 'wrong.env') },
      `${join(directory, 'wrong.env')}:PGSTREAM_LOG_LEVEL`,
    ],
  ])('is reported with where it came from: %j', (given, origin) => {
    expect(failure(given)).toMatchObject({
      message: expect.stringContaining(origin),
      code: 'invalid_settings',
      exitCode: 2,
    });
  });

  test.each([
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_URL', 'localhost:5432'],
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_ENABLED', 'perhaps'],
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_REFRESH_INTERVAL', '0s'],
    ['PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES', '0'],
    ['PGSTREAM_WEBHOOK_NOTIFIER_WORKER_COUNT', '0'],
    ['PGSTREAM_WEBHOOK_NOTIFIER_WORKER_COUNT', '2.5'],
    ['PGSTREAM_WEBHOOK_NOTIFIER_CLIENT_TIMEOUT', '10'],
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS', '9900'],
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_READ_TIMEOUT', '1000h'],
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_WRITE_TIMEOUT', 'soon'],
    ['PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN', 'two words'],
    ['PGSTREAM_INJECTOR_STORE_POSTGRES_URL', 'mysql://h'],
  ])('of %s, such as %j, is refused', (name, value) => {
    expect(failure({ env: { [name]: value } }).message).toContain(`environment ${name}: `);
  });

  test('brings the hint of what refused it', () => {
    expect(failure({ flags: { replicationSlot: 'My Slot' } }).hint).toBe('Use my_slot instead.');
  });

  test('is reported together with all the others', () => {
    const { message, hint } = failure({
      flags: { logLevel: 'loud' },
      env: {
        PGSTREAM_WEBHOOK_NOTIFIER_CLIENT_TIMEOUT: '10',
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: ':9900',
        PGSTREAM_LOG_LEVLE: 'info',
      },
      configFile: configFile('PGSTREAM_FILTER_INCLUDE_TABLES=a', 'many.env'),
    });
    expect(message.split('\n').filter((line) => line.startsWith('- '))).toEqual([
      expect.stringContaining('environment PGSTREAM_LOG_LEVLE: '),
      expect.stringContaining('many.env:PGSTREAM_FILTER_INCLUDE_TABLES: '),
      expect.stringContaining('environment PGSTREAM_WEBHOOK_NOTIFIER_CLIENT_TIMEOUT: '),
      expect.stringContaining('flag --log-level: '),
      expect.stringContaining('environment PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '),
    ]);
    expect(message).toContain('\n  Write 10s or 10ms.');
    expect(hint).toBe('Correct all of them and start again.');
  });

  test('never shows a password or the token', () => {
    const shown = failure({
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: 'postgres://u:hunter2@h/d?nope=1',
        PGSTREAM_INJECTOR_STORE_POSTGRES_URL: 'postgres://u:hun/ter2@h/d',
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN: 'hunter 2',
      },
    });
    expect(`${shown.message}${shown.hint}`).not.toMatch(/hun|ter2/);
  });
});

describe('an unknown name', () => {
  test.each([
    ['PGSTREAM_LOG_LEVLE', 'PGSTREAM_LOG_LEVEL'],
    ['PGSTREAM_POSTGRES_URL', 'PGSTREAM_POSTGRES_LISTENER_URL'],
    ['PGSTREAM_WEBHOOK_NOTIFIER_TIMEOUT', 'PGSTREAM_WEBHOOK_NOTIFIER_CLIENT_TIMEOUT'],
  ])('such as %s is refused with the nearest one, %s', (name, meant) => {
    expect(failure({ env: { [name]: '1' } })).toMatchObject({
      message: `environment ${name}: there is no setting of this name`,
      hint: `Did you mean ${meant}?`,
    });
  });

  test.each(['PGSTREAM_COFFEE', 'PGSTREAM_METRICS_PROMETHEUS_ENABLED'])(
    'that is like no other, such as %s, is refused without a guess',
    (name) => {
      expect(failure({ env: { [name]: '1' } }).hint).toBe('Remove it.');
    },
  );

  test.each([
    ['PGSTREAM_POSTGRES_SNAPSHOT_WORKERS', 'setting of this kind for snapshots'],
    ['PGSTREAM_POSTGRES_LISTENER_INITIAL_SNAPSHOT_ENABLED', 'setting of this kind for snapshots'],
    ['PGSTREAM_TRANSFORMER_RULES_FILE', 'transformers'],
    ['PGSTREAM_FILTER_EXCLUDE_TABLES', 'filters'],
  ])('of the original such as %s is told from a typing error', (name, subject) => {
    expect(failure({ env: { [name]: 'x' } })).toMatchObject({
      message: `environment ${name}: this version has no ${subject}`,
      hint: 'Remove it.',
    });
  });

  test('of the tests is let through', () => {
    expect(loadSettings({ env: { PGSTREAM_TEST_MAJOR: '15' } }).logLevel).toBe('info');
  });
});

describe('the subscription server', () => {
  const address = 'PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS';

  test('needs a token where other machines can reach it', () => {
    expect(failure({ env: { [address]: '0.0.0.0:9900' } })).toMatchObject({
      message: expect.stringContaining(`environment ${address}: `),
      hint: 'Set PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN, or listen on 127.0.0.1.',
    });
  });

  test.each(['127.0.0.1:0', 'localhost:9900', '[::1]:9900'])('on %s needs none', (value) => {
    expect(loadSettings({ env: { [address]: value } }).server.token).toBeUndefined();
  });
});
