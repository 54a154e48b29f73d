/**
 * Rows of COPY in text format, as tuples like those of the stream.
 * https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
 */
import { NULL, type Tuple } from '../replication/pgoutput.js';

const tab = 0x09;
const newline = 0x0a;
const backslash = 0x5c;
const letterN = 0x4e;

/** What stands for a character behind a backslash; anything else stands for itself. */
const escapes = new Map(
  Object.entries({ b: 0x08, f: 0x0c, n: 0x0a, r: 0x0d, t: 0x09, v: 0x0b }).map(([letter, byte]) => [
    letter.charCodeAt(0),
    byte,
  ]),
);

/** Cuts what arrives into lines, each in a buffer of its own and without its end. */
export class Lines {
  #parts: Buffer[] = [];

  *of(bytes: Buffer): Generator<Buffer, void> {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(newline, start);
      if (end < 0) break;
      this.#parts.push(bytes.subarray(start, end));
      const line = Buffer.concat(this.#parts);
      this.#parts = [];
      start = end + 1;
      yield line;
    }
    // The sender may use its memory again.
    if (start < bytes.length) this.#parts.push(Buffer.from(bytes.subarray(start)));
  }
}

/** The values of a line, which is changed: they are written in its place. */
export function parseLine(line: Buffer): Tuple {
  const spans: number[] = [];
  let from = 0;
  let to = 0;
  let isNull = false;
  for (let at = 0; at <= line.length; at++) {
    let byte = line[at];
    if (byte === undefined || byte === tab) {
      spans.push(isNull ? NULL : from, isNull ? NULL : to);
      from = to;
      isNull = false;
      continue;
    }
    if (byte === backslash) {
      byte = line[++at]!;
      isNull = byte === letterN;
      byte = escapes.get(byte) ?? byte;
    }
    line[to++] = byte;
  }
  return { bytes: line, spans };
}
