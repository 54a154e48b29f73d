import { usageError } from './usage.js';

const power: Record<string, number> = { '': 0, k: 1, m: 2, g: 3, t: 4 };

/**
 * Reads a number of bytes: a whole number, or one with a unit such as `64KiB` (1024) or `100MB`
 * (1000).
 *
 * @throws a usage error where the text is anything else.
 */
export function parseSize(text: string): number {
  const [, count, prefix = '', binary] = /^(\d+(?:\.\d+)?) ?(?:([kmgt])(i)?)?b?$/i.exec(text) ?? [];
  const bytes = Number(count) * (binary ? 1024 : 1000) ** power[prefix.toLowerCase()]!;
  if (!Number.isSafeInteger(bytes)) {
    throw usageError(
      'invalid_size',
      `"${text}" is not a number of bytes`,
      'Write bytes as a whole number, or with a unit such as 64MiB or 100MB.',
    );
  }
  return bytes;
}
