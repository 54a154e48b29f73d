/** A position in the write-ahead log: `bigint` inside, text at the edges. */
export type Lsn = bigint;

/** Reads `16/B374D848`. Throws a RangeError on anything else. */
export function parseLsn(text: string): Lsn {
  const parts = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (!parts) throw new RangeError(`not a log position: ${text}`);
  return (BigInt(`0x${parts[1]}`) << 32n) | BigInt(`0x${parts[2]}`);
}

/** Writes a position as Postgres prints it: upper-case hexadecimal, not padded. */
export const formatLsn = (lsn: Lsn): string =>
  formatHalves(Number(lsn >> 32n), Number(lsn & 0xffffffffn));

/** The same of the eight bytes there. */
export const lsnTextAt = (bytes: Buffer, at: number): string =>
  formatHalves(bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4));

const formatHalves = (high: number, low: number) =>
  `${high.toString(16)}/${low.toString(16)}`.toUpperCase();
