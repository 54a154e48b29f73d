import { usageError } from './usage.js';

const milliseconds: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/**
 * Reads a duration such as `60s`, `500ms`, `1.5h` or `1h30m`, in whole milliseconds.
 *
 * @throws a usage error where the text is anything else; a number without a unit is refused too,
 * because nothing says whether it means seconds or milliseconds.
 */
export function parseDuration(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) {
    throw usageError('invalid_duration', `"${text}" has no unit`, `Write ${text}s or ${text}ms.`);
  }
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) {
    throw usageError(
      'invalid_duration',
      `"${text}" is not a duration`,
      'Write numbers with the units h, m, s or ms, such as 60s, 500ms or 1h30m.',
    );
  }
  const parts = text.matchAll(/([\d.]+)(ms|s|m|h)/g);
  return Math.round(
    [...parts].reduce((sum, [, count, unit]) => sum + Number(count) * milliseconds[unit!]!, 0),
  );
}
