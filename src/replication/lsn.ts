/** A position in the write-ahead log: `bigint` inside, text at the edges. */
export type Lsn = bigint;

/** Reads `16/B374D848`. Throws a RangeError on anything else. */
export function parseLsn(text: string): Lsn {
  const parts = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (!parts) throw new RangeError(`not a log position: ${text}`);
  return (BigInt(`0x${parts[1]}`) << 32n) | BigInt(`0x${parts[2]}`);
}

/** Writes a position as Postgres prints it: upper-case hexadecimal, not padded. */
export function formatLsn(lsn: Lsn): string {
  const high = Number(lsn >> 32n);
  const low = Number(lsn & 0xffffffffn);
  return `${high.toString(16)}/${low.toString(16)}`.toUpperCase();
}
