import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { unprivilegedAccount } from '../../src/embedded/account.js';
import {
  createCluster,
  makeScratchDirectory,
  serverEnvironment,
} from '../../src/embedded/cluster.js';
import { findPostgres } from '../../src/embedded/find.js';

const run = promisify(execFile);

interface Upgradable {
  major: number;
  binDir: string;
}

/**
 * A server of this machine that has pg_upgrade with it, which the packaged ones have not, and leaves
 * logical slots behind, as all do up to version 16; undefined where there is none.
 */
export async function findUpgradable(): Promise<Upgradable | undefined> {
  for (const major of [16, 15, 14]) {
    const found = await findPostgres({ major, prefer: ['local'] }).catch(() => undefined);
    if (!found) continue;
    // What is on PATH may be links to some of the programs only.
    const binDir = path.dirname(await fs.realpath(path.join(found.binDir, 'postgres')));
    if (existsSync(path.join(binDir, 'pg_upgrade'))) return { major, binDir };
  }
  return undefined;
}

interface Directories {
  /** Of the cluster to upgrade, which does not exist yet. */
  before: string;
  /** Of the new one, after the upgrade. */
  after: string;
  /** Makes the new cluster of the one before, which has been shut down. */
  readonly upgrade: () => Promise<void>;
  readonly remove: () => Promise<void>;
}

/** Places for two clusters, the second of which is to be upgraded from the first. */
export async function prepareUpgrade({ binDir }: Upgradable): Promise<Directories> {
  const account = unprivilegedAccount();
  const scratch = await makeScratchDirectory(account);
  const [before, after] = [path.join(scratch, 'before'), path.join(scratch, 'after')];
  return {
    before,
    after,
    async upgrade() {
      await createCluster({ binDir, dataDir: after, account, scratch, password: undefined });
      const clusters = ['-b', binDir, '-B', binDir, '-d', before, '-D', after];
      // A server that has logical slots starts only where it may have them.
      const args = ['-U', 'postgres', ...clusters, '-o', '-c wal_level=logical'];
      const env = serverEnvironment(scratch);
      const options = { ...account, env, cwd: scratch };
      await run(path.join(binDir, 'pg_upgrade'), args, options).catch(
        (error: { stdout: string }) => {
          throw new Error(`pg_upgrade failed: ${error.stdout}`, { cause: error });
        },
      );
    },
    remove: () => fs.rm(scratch, { recursive: true, force: true, maxRetries: 5 }),
  };
}
