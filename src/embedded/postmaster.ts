import { execFile, spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { PgstreamError } from '../errors.js';
import type { Account } from './account.js';

const run = promisify(execFile);
const startTimeout = 60_000;
const stopTimeout = 10_000;
const pollInterval = 15;
const logTail = 8_000;

export type ServerSettings = Record<string, string | number>;

export interface PostmasterOptions {
  binDir: string;
  dataDir: string;
  account: Account | undefined;
  env: NodeJS.ProcessEnv;
  settings: ServerSettings;
}

/**
 * Starts a server on an initialised data directory and resolves once it accepts connections.
 * It has its own process group, so that Ctrl-C at a terminal reaches only us. On Linux it shuts
 * down when the thread that called this ends, however it ends: call it from a main thread.
 *
 * @throws PgstreamError `address_in_use`, or `postgres_did_not_start` with the end of its log.
 */
export async function launchPostmaster(options: PostmasterOptions): Promise<ChildProcess> {
  const { binDir, dataDir, account, env, settings } = options;
  const [program = '', ...args] = [
    ...(await dyingWithUs()),
    path.join(binDir, 'postgres'),
    '-D',
    dataDir,
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
  const child = spawn(program, args, {
    ...account,
    env,
    cwd: dataDir,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-logTail);
  });
  child.on('error', (error) => {
    log += error.message;
  });

  const deadline = Date.now() + startTimeout;
  while (!(await isReady(dataDir, child.pid))) {
    if (hasEnded(child) || Date.now() > deadline) {
      await stopPostmaster(child, 'immediate');
      throw startFailure(log.trim());
    }
    await delay(pollInterval);
  }
  return child;
}

/** Shuts a server down; a fast shutdown that takes longer than ten seconds becomes immediate. */
export async function stopPostmaster(
  child: ChildProcess,
  mode: 'fast' | 'immediate',
): Promise<void> {
  if (hasEnded(child)) return;
  child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
  const escalation = setTimeout(() => child.kill('SIGQUIT'), stopTimeout);
  await whenEnded(child);
  clearTimeout(escalation);
}

/** Whether a child process has ended, or never began. */
export function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** Resolves when a child process has ended. */
export function whenEnded(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (hasEnded(child)) resolve();
    else child.once('exit', () => resolve());
  });
}

/** A command to put in front of another, which is then interrupted when we die. */
async function dyingWithUs(): Promise<string[]> {
  if (process.platform !== 'linux') return [];
  const options = ['--pdeathsig', 'INT', '--'];
  try {
    await run('setpriv', [...options, 'true'], { cwd: '/' });
    return ['setpriv', ...options];
  } catch {
    return [];
  }
}

/**
 * The eighth line of postmaster.pid tells the state of the server; pg_ctl waits for the same.
 * https://www.postgresql.org/docs/current/storage-file-layout.html
 */
async function isReady(dataDir: string, pid: number | undefined): Promise<boolean> {
  const file = path.join(dataDir, 'postmaster.pid');
  const lines = (await fs.readFile(file, 'utf8').catch(() => '')).split('\n');
  return lines[0] === String(pid) && lines[7]?.trim() === 'ready';
}

function startFailure(log: string): PgstreamError {
  if (log.includes('Address already in use')) {
    return new PgstreamError('address_in_use', `Postgres found its port taken: ${log}`, {
      hint: 'Ask for another port, or for none to get a free one.',
    });
  }
  return new PgstreamError('postgres_did_not_start', `Postgres did not start: ${log}`, {
    hint: 'The log above names the cause; a setting that it rejects is the usual one.',
  });
}
