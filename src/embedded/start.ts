import type { ChildProcess } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { unprivilegedAccount } from './account.js';
import {
  createCluster,
  isCluster,
  majorOfCluster,
  makeScratchDirectory,
  serverEnvironment,
} from './cluster.js';
import { findPostgres, type FindOptions, type PostgresSource } from './find.js';
import { onFreePort, onSamePort } from './port.js';
import {
  hasEnded,
  launchPostmaster,
  stopPostmaster,
  whenEnded,
  type ServerSettings,
} from './postmaster.js';
import { killTree } from './processes.js';

const defaultSettings: ServerSettings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  wal_level: 'logical',
  max_replication_slots: 32,
  max_wal_senders: 32,
  max_connections: 120,
  shared_buffers: '64MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
};

// Without fsync only a crash of the machine loses data. A crash of the server would lose commits
// without synchronous_commit, and pages without full_page_writes: those stay on. A server that is
// killed leaves its shared memory behind, which goes with the directory where it is files in there.
const throwAwaySettings: ServerSettings = { fsync: 'off', dynamic_shared_memory_type: 'mmap' };

export interface StartOptions extends FindOptions {
  /** Where the data stays when the server is stopped. Without it a temporary one is removed. */
  dataDir?: string | undefined;
  /** A free one is chosen when absent. */
  port?: number | undefined;
  /** Of user postgres, asked for by every connection; without one everybody local is trusted. */
  password?: string | undefined;
  /** Server settings on top of ours, and stronger. */
  settings?: ServerSettings | undefined;
  /** Told about each step that takes time, as a short line of text. */
  onProgress?: ((text: string) => void) | undefined;
}

export interface RunningPostgres {
  /** Of the superuser postgres in database postgres. */
  url: string;
  port: number;
  version: string;
  source: PostgresSource;
  dataDir: string;
  /**
   * Shuts down and removes what was temporary. `fast` (the default) lets walsenders finish, for
   * ten seconds at most; `immediate` leaves recovery to the next start. Can be repeated.
   */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
  /** Kills every process of the server at once, as a power cut would; waits until all are gone. */
  crash(): Promise<void>;
  /** Starts again on the same port and data directory, after a fast shutdown if still running. */
  restart(): Promise<void>;
}

/**
 * Starts a real Postgres server for development and tests, on 127.0.0.1 only, ready for logical
 * replication. Works for ordinary users and for root, who hands it to an unprivileged account.
 *
 * @throws PgstreamError `no_postgres`, `initdb_failed`, `address_in_use`, `postgres_did_not_start`.
 */
export async function startPostgres(options: StartOptions = {}): Promise<RunningPostgres> {
  const report = options.onProgress ?? (() => undefined);
  const account = unprivilegedAccount();
  const major = options.major ?? (await majorOfCluster(options.dataDir));
  const { source, binDir, version } = await findPostgres({ ...options, major });
  report(`using PostgreSQL ${version} from ${binDir}`);

  const scratch = await makeScratchDirectory(account);
  const dataDir = path.resolve(options.dataDir ?? path.join(scratch, 'data'));
  const settings = {
    ...defaultSettings,
    ...(options.dataDir === undefined ? throwAwaySettings : {}),
    ...options.settings,
  };
  const env = serverEnvironment(scratch);
  let postmaster: ChildProcess;
  const launch = async (port: number): Promise<void> => {
    const launched = { binDir, dataDir, account, env, settings: { ...settings, port } };
    postmaster = await launchPostmaster(launched);
  };

  let port = options.port;
  try {
    if (!isCluster(dataDir)) {
      report(`creating a database cluster in ${dataDir}`);
      await createCluster({ binDir, dataDir, account, scratch, password: options.password });
    }
    if (port === undefined) port = await onFreePort(launch);
    else await launch(port);
  } catch (error) {
    await removeScratch(scratch);
    throw error;
  }
  report(`Postgres listens on port ${port}`);
  const interrupt = (): void => void postmaster.kill('SIGINT');
  process.once('exit', interrupt);

  return {
    url: superuserUrl(port, options.password),
    port,
    version,
    source,
    dataDir,
    async stop(mode = 'fast') {
      await stopPostmaster(postmaster, mode);
      process.off('exit', interrupt);
      await removeScratch(scratch);
    },
    async crash() {
      if (hasEnded(postmaster)) return;
      await killTree(postmaster.pid!);
      await whenEnded(postmaster);
    },
    async restart() {
      await stopPostmaster(postmaster, 'fast');
      await onSamePort(port, launch);
    },
  };
}

function superuserUrl(port: number, password: string | undefined): string {
  const credentials = password === undefined ? '' : `:${encodeURIComponent(password)}`;
  return `postgres://postgres${credentials}@127.0.0.1:${port}/postgres`;
}

/** Also when a server that was killed leaves files a moment later. */
async function removeScratch(scratch: string): Promise<void> {
  await fs.rm(scratch, { recursive: true, force: true, maxRetries: 5 });
}
