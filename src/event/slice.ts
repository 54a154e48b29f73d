/** A run of bytes in a larger buffer; cheaper than a Buffer of its own. */
export class Slice {
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;

  constructor(source: Buffer, start: number, end: number) {
    this.source = source;
    this.start = start;
    this.end = end;
  }

  get length(): number {
    return this.end - this.start;
  }

  toBuffer(): Buffer {
    return this.source.subarray(this.start, this.end);
  }
}

/** All of a buffer. */
export const sliceOf = (source: Buffer) => new Slice(source, 0, source.length);

const comma = 0x2c;

/**
 * A JSON array of these documents. Such as lie one behind the other with a comma between, as JsonWriter
 * leaves them, are copied at once.
 */
export function joinDocuments(documents: readonly Slice[]): Buffer {
  let length = documents.length + 1;
  for (const { start, end } of documents) length += end - start;
  const joined = Buffer.allocUnsafe(length);
  let at = 0;
  joined[at++] = 0x5b;
  for (let i = 0; i < documents.length;) {
    const { source, start, end: first } = documents[i++]!;
    let end = first;
    for (; i < documents.length; i++) {
      const next = documents[i]!;
      if (next.source !== source || next.start !== end + 1 || source[end] !== comma) break;
      end = next.end;
    }
    at += source.copy(joined, at, start, end);
    joined[at++] = comma;
  }
  joined[at - 1] = 0x5d;
  return joined;
}
