/**
 * One connection that follows a logical replication slot.
 *
 * Reading and confirming are separate: what is confirmed is only ever what the caller said.
 * Feedback is sent by time, also while the caller does not read, so that the server neither gives
 * us up nor waits for us.
 */
import pg from 'pg';
import { exitCode, PgstreamError } from '../errors.js';
import { streamOptions, type Connection } from '../settings/connection.js';
import { asksForReply, copyTag, statusUpdate, type Arrivals } from './copy-data.js';
import { formatLsn, type Lsn } from './lsn.js';
import { nextFeedback } from './liveness.js';
import type { PluginOptions } from './plugin.js';

export interface StreamOptions {
  readonly connection: Connection;
  readonly slot: string;
  /** Of the slot's output plugin. */
  readonly plugin: PluginOptions;
  /** Where to begin; 0 is the slot's confirmed position. */
  readonly startLsn: Lsn;
  /** The position to confirm, asked whenever feedback is due. */
  readonly confirmed: () => Lsn;
}

/** What `pg` keeps to itself of a connection that is in COPY BOTH mode. */
interface CopyConnection {
  readonly stream: { pause(): void; resume(): void; destroy(): void };
  on(event: 'copyData', listener: (message: { chunk: Buffer }) => void): void;
  removeAllListeners(event: 'copyData'): void;
  once(event: 'replicationStart', listener: () => void): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

/** Nothing more is read from the socket while so much waits. */
const highWaterBytes = 512 * 1024;
/** Memory for what arrives is kept for later unless it is more than this. */
const mostKeptBytes = 2 * 1024 * 1024;
const feedbackEveryMs = 500;

/** Opens the connection and starts the stream. Rejects with the driver's error. */
export async function openStream(options: StreamOptions): Promise<Stream> {
  const client = new pg.Client(streamOptions(options.connection));
  const stream = new Stream(client, options);
  await stream.start();
  return stream;
}

export class Stream {
  readonly #client: pg.Client;
  readonly #options: StreamOptions;
  readonly #wire: CopyConnection;
  #bytes: Buffer = Buffer.allocUnsafeSlow(highWaterBytes / 4);
  /** Like #bytes: what was handed out is used again for what arrives after the next. */
  #spare: Buffer = Buffer.allocUnsafeSlow(highWaterBytes / 4);
  #length = 0;
  #ends: number[] = [];
  #paused = false;
  #wake: (() => void) | undefined;
  #failure: Error | undefined;
  #ended = false;
  #lastReceivedAt = performance.now();
  #lastSentAt = 0;
  #lastSent: Lsn = -1n;
  #timer: NodeJS.Timeout | undefined;
  #copying: Promise<unknown> = Promise.resolve();

  constructor(client: pg.Client, options: StreamOptions) {
    this.#client = client;
    this.#options = options;
    this.#wire = (client as unknown as { connection: CopyConnection }).connection;
  }

  async start(): Promise<void> {
    this.#client.on('error', (error) => this.#end(error));
    // `pg` listens, too, to no use, and each message would cost a copy of the list.
    this.#wire.removeAllListeners('copyData');
    this.#wire.on('copyData', ({ chunk }) => this.#receive(chunk));
    const { slot, plugin, startLsn } = this.#options;
    const options = Object.entries(plugin).map(
      ([name, value]) => `"${name}" '${value.replaceAll("'", "''")}'`,
    );
    try {
      await this.#client.connect();
      const started = new Promise<void>((resolve) => {
        this.#wire.once('replicationStart', resolve);
      });
      const copying = this.#client.query(
        `START_REPLICATION SLOT "${slot}" LOGICAL ${formatLsn(startLsn)} ` + `(${options.join()})`,
      );
      this.#copying = copying.then(
        () => this.#end(undefined),
        (error: Error) => this.#end(error),
      );
      await Promise.race([started, copying]);
    } catch (error) {
      this.#wire.stream.destroy();
      throw error;
    }
    this.#timer = setInterval(() => this.#tick(), feedbackEveryMs);
  }

  /**
   * Everything that has arrived since the last call, in order. Ends when the signal fires or the
   * server ends the stream; throws the driver's error when the connection breaks.
   */
  async *batches(signal: AbortSignal): AsyncGenerator<Arrivals> {
    while (!signal.aborted) {
      if (this.#ends.length > 0) {
        yield this.#take();
      } else if (this.#failure) {
        throw this.#failure;
      } else if (this.#ended) {
        return;
      } else {
        await this.#arrival(signal);
      }
    }
  }

  /** Sends the last confirmation and leaves; the slot is free when this resolves. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (!this.#ended) {
      this.#sendStatus(false);
      this.#wire.stream.resume();
      this.#wire.endCopyFrom();
      const patience = new AbortController();
      await Promise.race([this.#copying, delay(1_000, patience.signal)]);
      patience.abort();
      this.#end(undefined);
    }
    this.#wire.stream.destroy();
  }

  #take(): Arrivals {
    const arrivals = { bytes: this.#bytes, ends: this.#ends };
    this.#bytes = this.#spare;
    this.#spare = arrivals.bytes.length > mostKeptBytes ? Buffer.alloc(0) : arrivals.bytes;
    this.#length = 0;
    this.#ends = [];
    if (this.#paused) {
      this.#paused = false;
      this.#lastReceivedAt = performance.now();
      this.#wire.stream.resume();
    }
    return arrivals;
  }

  #arrival(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener('abort', wake);
        this.#wake = undefined;
        resolve();
      };
      signal.addEventListener('abort', wake);
      this.#wake = wake;
    });
  }

  #receive(chunk: Buffer): void {
    this.#lastReceivedAt = performance.now();
    if (chunk[0] !== copyTag.data && chunk[0] !== copyTag.keepalive) return;
    // `pg` uses the memory behind `chunk` again as soon as this returns.
    this.#keep(chunk);
    if (chunk[0] === copyTag.keepalive && asksForReply(chunk)) this.#sendStatus(false);
    if (this.#length > highWaterBytes && !this.#paused) {
      this.#paused = true;
      this.#wire.stream.pause();
    }
    this.#wake?.();
  }

  #keep(chunk: Buffer): void {
    const end = this.#length + chunk.length;
    if (end > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(end, 2 * this.#bytes.length));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    chunk.copy(this.#bytes, this.#length);
    this.#length = end;
    this.#ends.push(end);
  }

  #tick(): void {
    if (this.#paused) {
      // Requests for a reply are not seen now, so every one of them is answered in advance.
      this.#sendStatus(false);
      return;
    }
    const now = performance.now();
    const step = nextFeedback({
      silentMs: now - this.#lastReceivedAt,
      sinceSentMs: now - this.#lastSentAt,
      news: this.#options.confirmed() !== this.#lastSent,
    });
    if (step === 'give-up') {
      this.#wire.stream.destroy();
      this.#end(
        new PgstreamError('connection_lost', 'the server has not answered for half a minute', {
          exitCode: exitCode.cannotConnect,
        }),
      );
    } else if (step !== 'wait') {
      this.#sendStatus(step === 'ask');
    }
  }

  #sendStatus(replyRequested: boolean): void {
    if (this.#ended) return;
    const confirmed = this.#options.confirmed();
    this.#wire.sendCopyFromChunk(statusUpdate(confirmed, replyRequested));
    this.#lastSent = confirmed;
    this.#lastSentAt = performance.now();
  }

  #end(failure: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    clearInterval(this.#timer);
    this.#wake?.();
  }
}

const delay = (milliseconds: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
