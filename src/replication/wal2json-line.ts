/**
 * Reads the lines of the output plugin wal2json, format version 2: a JSON object for each change.
 * https://github.com/eulerto/wal2json
 *
 * Nothing is parsed into a JavaScript value: a cell's value is the run of bytes that pgoutput would
 * have sent for it, so that every digit stays. To that end the line is rewritten where it lies, and
 * can be read only once: strings are unescaped, which never makes them longer, and a bytea gets back
 * its `\x`. Numbers that JSON has no form for have arrived as null.
 */
import { PgstreamError } from '../errors.js';
import { NULL } from './pgoutput.js';

const letter = (text: string) => text.charCodeAt(0);
const quote = letter('"');
const backslash = letter('\\');
const comma = letter(',');
const colon = letter(':');
const openArray = letter('[');
const closeArray = letter(']');
const openObject = letter('{');
const closeObject = letter('}');
const byteaOid = 17;

export type LineAction = 'B' | 'C' | 'I' | 'U' | 'D' | 'T' | 'M';

/** Of each cell: name from and to, the oid of the type, value from (or NULL) and to. */
export const cellSize = 5;

/** The columns or the identity of a change; cell i begins at `numbers[cellSize * i]`. */
export interface Cells {
  readonly numbers: number[];
}

export class Line {
  action: LineAction = 'M';
  schema = '';
  table = '';
  xid = 0;
  timestamp = '';
  lsn = '';
  nextLsn = '';
  /** Undefined where the line has none. */
  columns: Cells | undefined;
  identity: Cells | undefined;
  bytes: Buffer = Buffer.alloc(0);
  readonly #columns: Cells = { numbers: [] };
  readonly #identity: Cells = { numbers: [] };
  #at = 0;
  #end = 0;

  /** Reads a line up to the name of its table; all of a line that has none. */
  open(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.schema = this.table = '';
    this.columns = this.identity = undefined;
    this.#expect(openObject);
    while (this.table === '' && this.#member());
  }

  /** Reads what is left. */
  finish(): void {
    while (this.#member());
  }

  /** The text of a value or of a name. */
  text(start: number, end: number): string {
    return this.bytes.toString('utf8', start, end);
  }

  /** Reads the next member; false at the end of the line. */
  #member(): boolean {
    if (this.bytes[this.#at] === closeObject) return false;
    if (this.bytes[this.#at] === comma) this.#at++;
    const name = this.#string();
    this.#expect(colon);
    switch (name) {
      case 'action':
        this.action = this.#string() as LineAction;
        break;
      case 'schema':
        this.schema = this.#string();
        break;
      case 'table':
        this.table = this.#string();
        break;
      case 'columns':
        this.#cells((this.columns = this.#columns).numbers);
        break;
      case 'identity':
        this.#cells((this.identity = this.#identity).numbers);
        break;
      case 'xid':
        this.xid = Number(this.#scalarText());
        break;
      case 'timestamp':
        this.timestamp = this.#scalarText();
        break;
      case 'lsn':
        this.lsn = this.#scalarText();
        break;
      case 'nextlsn':
        this.nextLsn = this.#scalarText();
        break;
      default:
        this.#value();
    }
    return true;
  }

  #cells(numbers: number[]): void {
    numbers.length = 0;
    this.#expect(openArray);
    while (this.bytes[this.#at] !== closeArray) {
      if (numbers.length > 0) this.#expect(comma);
      this.#cell(numbers);
    }
    this.#at++;
  }

  #cell(numbers: number[]): void {
    let [nameStart, nameEnd, type, start, end] = [0, 0, 0, NULL, NULL];
    this.#expect(openObject);
    for (;;) {
      this.#expect(quote);
      const member = this.bytes[this.#at]!;
      const second = this.bytes[this.#at + 1]!;
      this.#endOfString();
      this.#expect(colon);
      const from = this.#value();
      if (member === nameMember) [nameStart, nameEnd] = [from, this.#valueEnd];
      else if (member === valueMember) [start, end] = [from, this.#valueEnd];
      else if (member === typeMember && second === typeSecond) type = this.#number(from);
      if (this.bytes[this.#at] === closeObject) break;
      this.#expect(comma);
    }
    this.#at++;
    if (type === byteaOid && start !== NULL) {
      // What lies there are the colon and the quote before the value.
      start -= 2;
      this.bytes[start] = backslash;
      this.bytes[start + 1] = letter('x');
    }
    numbers.push(nameStart, nameEnd, type, start, end);
  }

  #valueEnd = 0;

  /** Passes over a value; returns where its text begins, NULL for null. It ends at #valueEnd. */
  #value(): number {
    const { bytes } = this;
    const start = this.#at;
    switch (bytes[start]) {
      case quote:
        this.#at++;
        this.#valueEnd = this.#endOfString();
        return start + 1;
      case letter('n'):
        this.#at += 4;
        return (this.#valueEnd = NULL);
      // Postgres writes t and f.
      case letter('t'):
        this.#at += 4;
        this.#valueEnd = start + 1;
        return start;
      case letter('f'):
        this.#at += 5;
        this.#valueEnd = start + 1;
        return start;
      case openArray:
      case openObject:
        this.#passContainer();
        break;
      default:
        while (this.#at < this.#end && !isDelimiter(bytes[this.#at]!)) this.#at++;
        if (this.#at === start) throw undecodable(`a value at byte ${start}`);
    }
    if (this.#at >= this.#end) throw cutShort();
    this.#valueEnd = this.#at;
    return start;
  }

  #passContainer(): void {
    for (let depth = 0; ;) {
      const byte = this.bytes[this.#at++];
      if (this.#at > this.#end) throw cutShort();
      if (byte === quote) this.#endOfString();
      else if (byte === openArray || byte === openObject) depth++;
      else if ((byte === closeArray || byte === closeObject) && --depth === 0) return;
    }
  }

  #number(start: number): number {
    let number = 0;
    for (let at = start; at < this.#valueEnd; at++) number = 10 * number + this.bytes[at]! - 0x30;
    return number;
  }

  #string(): string {
    this.#expect(quote);
    const start = this.#at;
    return this.text(start, this.#endOfString());
  }

  /** A string or a number as text, '' for null. */
  #scalarText(): string {
    const start = this.#value();
    return start === NULL ? '' : this.text(start, this.#valueEnd);
  }

  /** From behind the opening quote to behind the closing one; returns where the text ends. */
  #endOfString(): number {
    const { bytes } = this;
    const end = this.#end;
    for (let at = this.#at; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === backslash) return this.#unescape(at);
      if (byte === quote) {
        this.#at = at + 1;
        return at;
      }
    }
    throw cutShort();
  }

  #unescape(from: number): number {
    const { bytes } = this;
    const end = this.#end;
    let to = from;
    for (let at = from; at < end;) {
      const byte = bytes[at++]!;
      if (byte === quote) {
        this.#at = at;
        return to;
      }
      if (byte !== backslash) {
        bytes[to++] = byte;
        continue;
      }
      const escaped = bytes[at++]!;
      const plain = escapes.get(escaped);
      if (plain !== undefined) {
        bytes[to++] = plain;
      } else if (escaped === letter('u')) {
        // wal2json writes control characters like this, and no others.
        const code = Number.parseInt(bytes.toString('latin1', at, at + 4), 16);
        if (!(code < 0x80))
          throw undecodable('a string has an escape that Postgres does not write');
        bytes[to++] = code;
        at += 4;
      } else {
        throw undecodable('a string has an unknown escape');
      }
    }
    throw cutShort();
  }

  #expect(wanted: number): void {
    if (this.#at >= this.#end) throw cutShort();
    if (this.bytes[this.#at] !== wanted) {
      throw undecodable(`no ${JSON.stringify(String.fromCharCode(wanted))} at byte ${this.#at}`);
    }
    this.#at++;
  }
}

const nameMember = letter('n');
const valueMember = letter('v');
const typeMember = letter('t');
/** Of `typeoid`, and of `type`, which is not asked for. */
const typeSecond = letter('y');

const escapes = new Map(
  Object.entries({
    '"': '"',
    '\\': '\\',
    '/': '/',
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
  }).map(([escaped, plain]) => [letter(escaped), letter(plain)]),
);

const isDelimiter = (byte: number) => byte === comma || byte === closeArray || byte === closeObject;

const cutShort = () => undecodable('a line is cut short');

export const undecodable = (what: string) =>
  new PgstreamError('undecodable_message', `cannot decode the replication stream: ${what}`, {
    hint: 'The slot must use the output plugin wal2json, version 2.5 or later.',
  });
