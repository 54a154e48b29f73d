/** The SQL files that are installed, as `psql` and this program both run them. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);

export const migrationsDirectory = fileURLToPath(new URL('migrations/', root));

/** A file below `sql/` as one text, each `\ir FILE` replaced by that file. */
export async function readBundle(name: string): Promise<string> {
  const text = await readFile(new URL(`sql/${name}`, root), 'utf8');
  const lines = text.split('\n').map(async (line) => {
    const included = /^\\ir\s+(\S+)\s*$/.exec(line)?.[1];
    return included ? readBundle(included) : line;
  });
  return (await Promise.all(lines)).join('\n');
}
