const epochOffsetSeconds = 946_684_800n; // 1970-01-01 to 2000-01-01

/** Microseconds since 2000-01-01 UTC, as Postgres counts time on the wire, of a JavaScript time. */
export const toPostgresMicroseconds = (milliseconds: number): bigint =>
  (BigInt(milliseconds) - epochOffsetSeconds * 1000n) * 1000n;

/** Microseconds since 1970-01-01 UTC, of such since 2000-01-01. */
export const unixMicroseconds = (microseconds: bigint): bigint =>
  microseconds + epochOffsetSeconds * 1_000_000n;

/**
 * Prints microseconds since 2000-01-01 as Postgres prints a timestamptz in time zone UTC, e.g.
 * `2025-03-13 09:52:47.579305+00`. Years 1 to 9999: enough for times of commits.
 */
export function formatTimestamp(microseconds: bigint): string {
  const sinceEpoch = unixMicroseconds(microseconds);
  const fraction = ((sinceEpoch % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const date = new Date(Number((sinceEpoch - fraction) / 1000n)).toISOString();
  const digits = fraction === 0n ? '' : `.${fraction.toString().padStart(6, '0')}`;
  return `${date.slice(0, 10)} ${date.slice(11, 19)}${digits.replace(/0+$/, '')}+00`;
}

/** Reads what formatTimestamp prints. Throws a RangeError on anything else. */
export function parseTimestamp(text: string): bigint {
  const parts = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/.exec(text);
  const milliseconds = parts ? Date.parse(`${parts[1]}T${parts[2]}Z`) : NaN;
  if (Number.isNaN(milliseconds)) throw new RangeError(`not a time in UTC: ${text}`);
  return toPostgresMicroseconds(milliseconds) + BigInt((parts![3] ?? '').padEnd(6, '0'));
}
