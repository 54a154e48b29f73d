import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Account } from './account.js';

const run = promisify(execFile);

/**
 * The version that `postgres -V` prints when the account runs it, such as `15.18`; undefined when
 * it cannot be run.
 */
export async function versionOf(
  binDir: string,
  account: Account | undefined,
): Promise<string | undefined> {
  try {
    const { stdout } = await run(path.join(binDir, 'postgres'), ['-V'], { ...account, cwd: '/' });
    return /\(PostgreSQL\) (\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

/** The major number of a version such as `15.18`, `16beta1` or the contents of PG_VERSION. */
export function majorOf(version: string): number {
  return Number.parseInt(version, 10);
}
