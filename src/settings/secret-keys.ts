import { readFileSync } from 'node:fs';
import { PgstreamError } from '../errors.js';
import { parseKeys, type Key } from '../secrets/seal.js';
import type { Environment } from './connection.js';
import { usageError } from './usage.js';

/** @throws a usage error where the file cannot be read. */
export function readKeyFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw usageError(
      'unreadable_key',
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      'Correct the path, or the permissions of the file.',
    );
  }
}

/**
 * The keys that the environment gives, the one that seals first.
 *
 * @throws a usage error.
 */
export function secretKeysOf(env: Environment): readonly Key[] {
  const { PGSTREAM_SECRET_KEY: text, PGSTREAM_SECRET_KEY_FILE: path } = env;
  try {
    return [...(text ? parseKeys(text) : []), ...(path ? parseKeys(readKeyFile(path)) : [])];
  } catch (error) {
    if (!(error instanceof PgstreamError) || error.code !== 'invalid_key') throw error;
    throw usageError(error.code, `PGSTREAM_SECRET_KEY ${error.message}`, error.hint ?? '');
  }
}
