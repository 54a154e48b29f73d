import type { ValueKind } from './value.js';

const quote = 0x22;
const backslash = 0x5c;
const nullText = Buffer.from('null');
const trueText = Buffer.from('true');
const falseText = Buffer.from('false');

/** The escape of each byte that a JSON string cannot hold as it is. */
const escapes = new Map<number, Buffer>(
  [...Array(0x20).keys(), quote, backslash].map((byte) => [
    byte,
    Buffer.from(JSON.stringify(String.fromCharCode(byte)).slice(1, -1)),
  ]),
);

/** Longer runs are copied by the runtime, shorter ones byte by byte: a call costs more than they do. */
const shortRun = 24;

const firstBytes = 64 * 1024;
/** A buffer that has grown beyond this is given away with its document. */
const mostKept = 1024 * 1024;

/** Writes JSON as bytes into one buffer that grows and is used again for the next document. */
export class JsonWriter {
  #bytes = Buffer.allocUnsafe(firstBytes);
  #length = 0;

  /** What has been written; the writer is empty afterwards. */
  take(): Buffer {
    const written = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    if (this.#bytes.length <= mostKept) return Buffer.from(written);
    this.#bytes = Buffer.allocUnsafe(firstBytes);
    return written;
  }

  /** Writes prepared bytes as they are. */
  raw(source: Buffer): void {
    this.#copy(source, 0, source.length);
  }

  /** Writes text of ASCII characters as it is. */
  ascii(text: string): void {
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[this.#length++] = text.charCodeAt(i);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** Writes the text of a value, in `source` from `start` to `end`, the way its kind asks for. */
  value(kind: ValueKind, source: Buffer, start: number, end: number): void {
    switch (kind) {
      case 'number':
        if (isFinite(source, start)) this.#copy(source, start, end);
        else this.raw(nullText);
        break;
      case 'boolean':
        this.raw(source[start] === 0x74 ? trueText : falseText);
        break;
      case 'bytea':
        this.byte(quote);
        this.#copy(source, start + 2, end); // after \x
        this.byte(quote);
        break;
      case 'text':
        this.string(source, start, end);
    }
  }

  null(): void {
    this.raw(nullText);
  }

  /** Writes UTF-8 text as a JSON string. */
  string(source: Buffer, start: number, end: number): void {
    this.byte(quote);
    let plain = start;
    for (let at = start; at < end; at++) {
      const byte = source[at]!;
      if (byte >= 0x20 && byte !== quote && byte !== backslash) continue;
      this.#copy(source, plain, at);
      this.raw(escapes.get(byte)!);
      plain = at + 1;
    }
    this.#copy(source, plain, end);
    this.byte(quote);
  }

  #copy(source: Buffer, start: number, end: number): void {
    const count = end - start;
    this.#reserve(count);
    if (count < shortRun) {
      for (let at = start; at < end; at++) this.#bytes[this.#length++] = source[at]!;
    } else {
      source.copy(this.#bytes, this.#length, start, end);
      this.#length += count;
    }
  }

  #reserve(count: number): void {
    const wanted = this.#length + count;
    if (wanted <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(wanted, 2 * this.#bytes.length));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

/** False for NaN, Infinity and -Infinity, which JSON has no number for. */
const isFinite = (source: Buffer, start: number) => {
  const first = source[start] === 0x2d ? source[start + 1] : source[start];
  return first !== 0x4e && first !== 0x49;
};
