import { z } from 'zod';
import { PgstreamError } from '../errors.js';
import { logLevels, type LogLevel } from '../log.js';
import { resolveConnection, type Connection, type Environment } from './connection.js';
import { parseKeys, type Key } from '../secrets/seal.js';
import { outputPlugins, type OutputPlugin } from '../replication/plugin.js';
import { parseDuration } from './duration.js';
import { readKeyFile } from './secret-keys.js';
import { parseNetworks, type Network } from './networks.js';
import { parseServerAddress, type ServerAddress } from './server-address.js';
import { parseSize } from './size.js';
import { parseSlotName } from './slot-name.js';
import { parseSnapshotSetting, type SnapshotTables } from './snapshot-tables.js';

/** Everything that `pgstream run` can be told. Durations are in milliseconds. */
export interface Settings {
  /** The database whose changes are read. */
  source: Connection;
  /** Undefined: to be derived from the name of the database. */
  slotName: string | undefined;
  /** Of the slot that `init` makes. Undefined: pgoutput, or what a slot that exists has. */
  outputPlugin: OutputPlugin | undefined;
  /** Tables whose rows are delivered once, when this is first seen. */
  snapshotTables: readonly SnapshotTables[];
  /** Where subscriptions and deliveries live, if not in the source. */
  store: Connection | undefined;
  /** Accepted for compatibility; subscriptions act at their commit either way. */
  storeCacheEnabled: boolean;
  storeRefreshInterval: number;
  maxQueueBytes: number;
  /** Requests in flight of a subscription that does not say, if not the usual number. */
  workerCount: number | undefined;
  clientTimeout: number;
  /** Where webhooks may go. */
  addresses: {
    denyPrivateNetworks: boolean;
    /** Allowed whatever else is refused. */
    allowedNetworks: readonly Network[];
  };
  server: {
    address: ServerAddress;
    readTimeout: number;
    writeTimeout: number;
    token: string | undefined;
  };
  /** Where the schema log is, when events get metadata. */
  injectorStore: Connection | undefined;
  /** How often changes of schemas are looked for where no event trigger tells of them. */
  reconcileInterval: number;
  /** Seal secrets at rest: the first one seals, all of them open. */
  secretKeys: readonly Key[];
  /** A login without any rights, as which expressions of users are evaluated. */
  evaluator: Connection | undefined;
  logLevel: LogLevel;
}

/** The longest wait that a timer of Node can hold. */
const longestTimer = 2 ** 31 - 1;

/** A schema out of a function that throws usage errors. */
const text = <T>(read: (value: string) => T) =>
  z.string().transform((value, context): T => {
    try {
      return read(value);
    } catch (error) {
      if (!(error instanceof PgstreamError)) throw error;
      const { message, hint } = error;
      context.addIssue({ code: 'custom', message, params: { hint } });
      return z.NEVER;
    }
  });

const interval = text(parseDuration).pipe(
  z.number().positive('must be more than 0').max(longestTimer, 'must be at most 24 days'),
);

/** Reads the values of all settings; `env` fills in what a URL leaves out. */
export const settingsSchema = (env: Environment) =>
  z.object({
    PGSTREAM_POSTGRES_LISTENER_URL: text((url) => resolveConnection(url, env)),
    PGSTREAM_POSTGRES_REPLICATION_SLOT_NAME: text(parseSlotName).optional(),
    PGSTREAM_POSTGRES_OUTPUT_PLUGIN: z
      .enum(outputPlugins, `must be ${outputPlugins.join(' or ')}`)
      .optional(),
    PGSTREAM_POSTGRES_SNAPSHOT_TABLES: text(parseSnapshotSetting).default([]),
    PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_URL: text((url) => resolveConnection(url, env)).optional(),
    PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_ENABLED: z
      .stringbool('must be true or false')
      .default(true),
    PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_REFRESH_INTERVAL: interval.default(60_000),
    PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES: text(parseSize)
      .pipe(z.number().positive('must be more than 0'))
      .default(32 * 1024 ** 2),
    PGSTREAM_WEBHOOK_NOTIFIER_WORKER_COUNT: z
      .string()
      .regex(/^[1-9]\d{0,5}$/, 'must be a whole number from 1')
      .transform(Number)
      .optional(),
    PGSTREAM_WEBHOOK_NOTIFIER_CLIENT_TIMEOUT: interval.default(10_000),
    PGSTREAM_WEBHOOK_DENY_PRIVATE_NETWORKS: z.stringbool('must be true or false').default(false),
    PGSTREAM_WEBHOOK_ALLOWED_NETWORKS: text(parseNetworks).default([]),
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: text(parseServerAddress).default({
      host: '127.0.0.1',
      port: 9900,
    }),
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_READ_TIMEOUT: interval.default(5_000),
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_WRITE_TIMEOUT: interval.default(10_000),
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN: z
      .string()
      .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
      .optional(),
    PGSTREAM_INJECTOR_STORE_POSTGRES_URL: text((url) => resolveConnection(url, env)).optional(),
    PGSTREAM_SCHEMA_RECONCILE_INTERVAL: interval.default(10_000),
    PGSTREAM_SECRET_KEY: text(parseKeys).default([]),
    PGSTREAM_SECRET_KEY_FILE: text((path) => parseKeys(readKeyFile(path))).default([]),
    PGSTREAM_EVALUATOR_URL: text((url) => resolveConnection(url, env)).optional(),
    PGSTREAM_LOG_LEVEL: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`).default('info'),
  });

type ParsedSettings = z.output<ReturnType<typeof settingsSchema>>;

/** The settings under the names that the program uses. */
export const toSettings = (parsed: ParsedSettings): Settings => ({
  source: parsed.PGSTREAM_POSTGRES_LISTENER_URL,
  slotName: parsed.PGSTREAM_POSTGRES_REPLICATION_SLOT_NAME,
  outputPlugin: parsed.PGSTREAM_POSTGRES_OUTPUT_PLUGIN,
  snapshotTables: parsed.PGSTREAM_POSTGRES_SNAPSHOT_TABLES,
  store: parsed.PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_URL,
  storeCacheEnabled: parsed.PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_ENABLED,
  storeRefreshInterval: parsed.PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_REFRESH_INTERVAL,
  maxQueueBytes: parsed.PGSTREAM_WEBHOOK_NOTIFIER_MAX_QUEUE_BYTES,
  workerCount: parsed.PGSTREAM_WEBHOOK_NOTIFIER_WORKER_COUNT,
  clientTimeout: parsed.PGSTREAM_WEBHOOK_NOTIFIER_CLIENT_TIMEOUT,
  addresses: {
    denyPrivateNetworks: parsed.PGSTREAM_WEBHOOK_DENY_PRIVATE_NETWORKS,
    allowedNetworks: parsed.PGSTREAM_WEBHOOK_ALLOWED_NETWORKS,
  },
  server: {
    address: parsed.PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS,
    readTimeout: parsed.PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_READ_TIMEOUT,
    writeTimeout: parsed.PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_WRITE_TIMEOUT,
    token: parsed.PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN,
  },
  injectorStore: parsed.PGSTREAM_INJECTOR_STORE_POSTGRES_URL,
  reconcileInterval: parsed.PGSTREAM_SCHEMA_RECONCILE_INTERVAL,
  secretKeys: [...parsed.PGSTREAM_SECRET_KEY, ...parsed.PGSTREAM_SECRET_KEY_FILE],
  evaluator: parsed.PGSTREAM_EVALUATOR_URL,
  logLevel: parsed.PGSTREAM_LOG_LEVEL,
});

/** The environment variables that exist. */
export const settingNames: readonly string[] = Object.keys(settingsSchema({}).shape);
