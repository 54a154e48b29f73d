import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { PgstreamError } from '../errors.js';
import { canEnter, type Account } from './account.js';
import { majorOf } from './version.js';

const run = promisify(execFile);

/** A locale that every system of this kind has. */
const locale = process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8';

/** The whole environment of the server's programs: nothing of ours leaks into them. */
export function serverEnvironment(home: string): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], HOME: home, LC_ALL: locale, TZ: 'UTC' };
}

/** A new private directory of the account, in the system's place for temporary files. */
export async function makeScratchDirectory(account: Account | undefined): Promise<string> {
  const base = (await canEnter(os.tmpdir(), account)) ? os.tmpdir() : '/tmp';
  const scratch = await fs.mkdtemp(path.join(base, 'pgstream-postgres-'));
  if (account) await fs.chown(scratch, account.uid, account.gid);
  return scratch;
}

/** Whether a directory holds a database cluster already. */
export function isCluster(dataDir: string): boolean {
  return existsSync(path.join(dataDir, 'PG_VERSION'));
}

/** The major version of the server that a directory belongs to, if it is a database cluster. */
export async function majorOfCluster(dataDir: string | undefined): Promise<number | undefined> {
  if (dataDir === undefined || !isCluster(dataDir)) return undefined;
  return majorOf(await fs.readFile(path.join(dataDir, 'PG_VERSION'), 'utf8'));
}

export interface ClusterOptions {
  binDir: string;
  dataDir: string;
  account: Account | undefined;
  /** A directory of the account, for its home and for what must not stay. */
  scratch: string;
  /** Of the superuser postgres; without one every local connection is trusted. */
  password: string | undefined;
}

/**
 * Makes a directory a database cluster with superuser postgres.
 *
 * @throws PgstreamError `initdb_failed` with what initdb printed.
 */
export async function createCluster(options: ClusterOptions): Promise<void> {
  const { binDir, dataDir, account, scratch, password } = options;
  const passwordFile = path.join(scratch, 'password');
  const args = ['-D', dataDir, '-U', 'postgres', '-E', 'UTF8', `--locale=${locale}`, '--no-sync'];
  try {
    await fs.mkdir(path.dirname(dataDir), { recursive: true });
    await fs.mkdir(dataDir, { recursive: true, mode: 0o700 });
    if (account) await fs.chown(dataDir, account.uid, account.gid);
    if (password === undefined) {
      args.push('-A', 'trust');
    } else {
      args.push('-A', 'scram-sha-256', '--pwfile', passwordFile);
      await fs.writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
      if (account) await fs.chown(passwordFile, account.uid, account.gid);
    }
    const env = serverEnvironment(scratch);
    await run(path.join(binDir, 'initdb'), args, { ...account, env, cwd: scratch });
  } catch (cause) {
    const { stderr, message } = cause as Error & { stderr?: string };
    throw new PgstreamError('initdb_failed', `initdb failed: ${(stderr || message).trim()}`, {
      hint: 'The data directory has to be empty and open to the account that runs Postgres.',
      cause,
    });
  } finally {
    await fs.rm(passwordFile, { force: true });
  }
}
