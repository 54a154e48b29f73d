import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** The dump is complete before it is restored: the database may be the same. */
const script =
  'set -e; sql=$(pg_dump "${@:2}" "$0"); psql -X -q -v ON_ERROR_STOP=1 "$1" <<< "$sql"';

/**
 * Dumps a database and restores it into another one, with pg_dump, which gets the options, and psql
 * of PATH; false, which is said aloud, where they are missing or too old for the server.
 */
export async function dumpAndRestore(
  fromUrl: string,
  toUrl: string,
  ...options: string[]
): Promise<boolean> {
  try {
    await run('bash', ['-c', script, fromUrl, toUrl, ...options]);
    return true;
  } catch (error) {
    const { stderr } = error as { stderr: string };
    if (!/server version mismatch|not found/.test(stderr)) throw error;
    console.warn('no pg_dump for this server on PATH: dump and restore is not tested');
    return false;
  }
}
