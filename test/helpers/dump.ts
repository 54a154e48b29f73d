import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const script = 'set -o pipefail; pg_dump "$0" | psql -X -q -v ON_ERROR_STOP=1 "$1"';

/**
 * Dumps a database and restores it into an empty one, with pg_dump and psql of PATH; false, which is
 * said aloud, where they are missing or too old for the server.
 */
export async function dumpAndRestore(fromUrl: string, toUrl: string): Promise<boolean> {
  try {
    await run('bash', ['-c', script, fromUrl, toUrl]);
    return true;
  } catch (error) {
    const { stderr } = error as { stderr: string };
    if (!/server version mismatch|not found/.test(stderr)) throw error;
    console.warn('no pg_dump for this server on PATH: dump and restore is not tested');
    return false;
  }
}
