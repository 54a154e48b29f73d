/** The bodies of a table's events in all formats that are asked for, each encoded once an event. */
import type { Commit } from './commit.js';
import type { Change } from './encode.js';
import { createEncoder, type Described, type Encoder } from './encoder.js';
import type { Format } from './format.js';
import type { Origin } from './formats.js';
import type { JsonWriter } from './json-writer.js';
import type { TableIds } from './schema-versions.js';
import type { Slice } from './slice.js';

export class TableEncoders {
  readonly #described: Described;
  readonly #origin: Origin;
  readonly #plain = new Map<Format, Encoder>();
  readonly #injected = new Map<Format, Encoder>();
  #ids: TableIds | undefined;

  constructor(described: Described, origin: Origin) {
    this.#described = described;
    this.#origin = origin;
  }

  /** `ids`: with metadata, the same object for as long as it is the same. */
  of(format: Format, ids?: TableIds): Encoder {
    if (ids && ids !== this.#ids) {
      this.#ids = ids;
      this.#injected.clear();
    }
    const encoders = ids ? this.#injected : this.#plain;
    let encoder = encoders.get(format);
    if (!encoder) {
      encoder = createEncoder(format, this.#described, this.#origin, ids);
      encoders.set(format, encoder);
    }
    return encoder;
  }
}

export class Bodies {
  readonly #writer: JsonWriter;
  /** Most events are written once: no map is needed then. */
  #last: { readonly encoder: Encoder; readonly body: Slice } | undefined;
  readonly #others = new Map<Encoder, Slice>();

  constructor(writer: JsonWriter) {
    this.#writer = writer;
  }

  /** The next event comes. */
  forget(): void {
    this.#last = undefined;
    if (this.#others.size > 0) this.#others.clear();
  }

  /** The body of the event; `id` matters only where the body tells it. */
  of(encoder: Encoder, change: Change, commit: Commit, lsn: string, id: string): Slice {
    if (encoder.tellsId) return encoder.encode(this.#writer, change, commit, lsn, id);
    if (this.#last?.encoder === encoder) return this.#last.body;
    if (this.#last) this.#others.set(this.#last.encoder, this.#last.body);
    const body = this.#others.get(encoder) ?? encoder.encode(this.#writer, change, commit, lsn, '');
    this.#last = { encoder, body };
    return body;
  }
}
