import { Slice } from './slice.js';
import type { ValueKind } from './value.js';

const quote = 0x22;
const comma = 0x2c;
const space = 0x20;
const backslash = 0x5c;
const nullText = Buffer.from('null');
const trueText = Buffer.from('true');
const falseText = Buffer.from('false');

/** The escape of each byte that a JSON string cannot hold as it is. */
const escapes: readonly (Buffer | undefined)[] = Array.from({ length: 0x100 }, (_, byte) =>
  byte < 0x20 || byte === quote || byte === backslash
    ? Buffer.from(JSON.stringify(String.fromCharCode(byte)).slice(1, -1))
    : undefined,
);
const longestEscape = 6;

/** Longer runs are copied by the runtime, shorter ones byte by byte: a call costs more than they do. */
const shortRun = 24;

/** A document keeps its whole block in memory, so that blocks are not to be larger than this. */
const blockBytes = 32 * 1024;

/**
 * Writes JSON as bytes, one document behind the other with a comma between, into blocks of memory that
 * are never written again.
 */
export class JsonWriter {
  #block = Buffer.allocUnsafeSlow(blockBytes);
  /** Where the document begins, and how far it has been written. */
  #start = 0;
  #at = 0;

  /** What has been written is a document; the next one begins. */
  take(): Slice {
    const document = new Slice(this.#block, this.#start, this.#at);
    this.#start = this.#at + 1;
    if (this.#start < blockBytes) this.#block[this.#at] = comma;
    else this.#begin(blockBytes);
    this.#at = this.#start;
    return document;
  }

  /** Writes prepared bytes as they are. */
  raw(source: Buffer): void {
    this.#copy(source, 0, source.length);
  }

  /** Writes text of ASCII characters as it is. */
  ascii(text: string): void {
    const { length } = text;
    this.#reserve(length);
    const block = this.#block;
    let at = this.#at;
    for (let i = 0; i < length; i++) block[at++] = text.charCodeAt(i);
    this.#at = at;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#block[this.#at++] = value;
  }

  /** Writes the text of a value, in `source` from `start` to `end`, the way its kind asks for. */
  value(kind: ValueKind, source: Buffer, start: number, end: number): void {
    switch (kind) {
      case 'number':
        if (isFinite(source, start)) this.#copy(source, start, end);
        else this.raw(nullText);
        break;
      case 'decimal':
        if (isFinite(source, start)) this.#copy(source, start, end);
        else this.string(source, start, end);
        break;
      case 'json':
        this.#json(source, start, end);
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
    if (end - start < shortRun) this.#shortText(source, start, end);
    else this.#longText(source, start, end);
    this.byte(quote);
  }

  /** A control character in JSON is a line break between two tokens, or a tab; a space does as well. */
  #json(source: Buffer, start: number, end: number): void {
    this.#copy(source, start, end);
    const block = this.#block;
    for (let at = this.#at - (end - start); at < this.#at; at++) {
      if (block[at]! < space) block[at] = space;
    }
  }

  #shortText(source: Buffer, start: number, end: number): void {
    this.#reserve((end - start) * longestEscape);
    const block = this.#block;
    let at = this.#at;
    for (let from = start; from < end; from++) {
      const byte = source[from]!;
      const escape = escapes[byte];
      if (escape) for (const escaped of escape) block[at++] = escaped;
      else block[at++] = byte;
    }
    this.#at = at;
  }

  #longText(source: Buffer, start: number, end: number): void {
    let plain = start;
    for (let at = start; at < end; at++) {
      const byte = source[at]!;
      if (byte >= 0x20 && byte !== quote && byte !== backslash) continue;
      this.#copy(source, plain, at);
      this.raw(escapes[byte]!);
      plain = at + 1;
    }
    this.#copy(source, plain, end);
  }

  #copy(source: Buffer, start: number, end: number): void {
    const count = end - start;
    this.#reserve(count);
    if (count < shortRun) {
      const block = this.#block;
      let at = this.#at;
      for (let from = start; from < end; from++) block[at++] = source[from]!;
      this.#at = at;
    } else {
      source.copy(this.#block, this.#at, start, end);
      this.#at += count;
    }
  }

  /** Makes room for so many more bytes, and takes the document along to a new block if need be. */
  #reserve(count: number): void {
    if (this.#at + count <= this.#block.length) return;
    const [block, start, end] = [this.#block, this.#start, this.#at];
    const length = end - start;
    this.#begin(Math.max(blockBytes, 2 * length + count));
    block.copy(this.#block, 0, start, end);
    this.#at = length;
  }

  #begin(bytes: number): void {
    this.#block = Buffer.allocUnsafeSlow(bytes);
    this.#start = 0;
  }
}

/** False for NaN, Infinity and -Infinity, which JSON has no number for. */
const isFinite = (source: Buffer, start: number) => {
  const first = source[start] === 0x2d ? source[start + 1] : source[start];
  return first !== 0x4e && first !== 0x49;
};
