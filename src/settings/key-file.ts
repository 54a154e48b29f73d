import { readFileSync } from 'node:fs';
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
