import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { PgstreamError } from '../errors.js';

const run = promisify(execFile);

/** Identity given to `spawn`, which also drops the supplementary groups of root. */
export interface Account {
  uid: number;
  gid: number;
}

const candidates = ['postgres', '_postgres', 'nobody'];

/**
 * The account that Postgres has to run under: undefined means the current one. Postgres refuses to
 * run as root, and also as a uid that has no passwd entry.
 */
export function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const rows = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of candidates) {
    const row = rows.find(([user]) => user === name);
    if (row) return { uid: Number(row[2]), gid: Number(row[3]) };
  }
  throw new PgstreamError('no_account', 'Postgres refuses to run as root', {
    hint: `Run as an ordinary user, or create one of the users ${candidates.join(', ')}.`,
  });
}

/** Whether the account can enter a directory. */
export async function canEnter(directory: string, account: Account | undefined): Promise<boolean> {
  try {
    await run('/bin/sh', ['-c', 'cd "$1"', 'sh', directory], { ...account, cwd: '/' });
    return true;
  } catch {
    return false;
  }
}
