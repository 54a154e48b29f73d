/**
 * One connection that follows a logical replication slot.
 * https://www.postgresql.org/docs/current/protocol-replication.html
 *
 * Reading and confirming are separate: what is confirmed is only ever what the caller said.
 * Feedback is sent by time, also while the caller does not read, so that the server neither gives
 * us up nor waits for us.
 */
import pg from 'pg';
import { exitCode, PgstreamError } from '../errors.js';
import { pgOptions, type Connection } from '../settings/connection.js';
import { formatLsn, type Lsn } from './lsn.js';
import { nextFeedback } from './liveness.js';
import { toPostgresMicroseconds } from './timestamp.js';

export type Arrival =
  /** A message of the output plugin; `lsn` is the position of the change that it tells of. */
  | { readonly tag: 'data'; readonly lsn: Lsn; readonly payload: Buffer }
  /** Everything that lies before `position` has been sent. */
  | { readonly tag: 'keepalive'; readonly position: Lsn };

export interface StreamOptions {
  readonly connection: Connection;
  readonly slot: string;
  readonly publications: readonly string[];
  /** Where to begin; 0 is the slot's confirmed position. */
  readonly startLsn: Lsn;
  /** The position to confirm, asked whenever feedback is due. */
  readonly confirmed: () => Lsn;
}

/** What `pg` keeps to itself of a connection that is in COPY BOTH mode. */
interface CopyConnection {
  readonly stream: { pause(): void; resume(): void; destroy(): void };
  on(event: 'copyData', listener: (message: { chunk: Buffer }) => void): void;
  once(event: 'replicationStart', listener: () => void): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

const highWaterBytes = 4 * 1024 * 1024;
/** What a message takes in memory beside its bytes. */
const overheadBytes = 256;
const feedbackEveryMs = 500;

const tag = { data: 0x77, keepalive: 0x6b, status: 0x72 } as const;

/** Bytes of XLogData before the payload: tag, start, end, clock. */
const dataHeader = 25;

/** Opens the connection and starts the stream. Rejects with the driver's error. */
export async function openStream(options: StreamOptions): Promise<Stream> {
  // `replication` is a startup parameter that the type declarations of `pg` leave out.
  const config = { ...pgOptions(options.connection), replication: 'database' };
  const client = new pg.Client(config);
  const stream = new Stream(client, options);
  await stream.start();
  return stream;
}

export class Stream {
  readonly #client: pg.Client;
  readonly #options: StreamOptions;
  readonly #wire: CopyConnection;
  #arrived: Arrival[] = [];
  #arrivedBytes = 0;
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
    this.#wire.on('copyData', ({ chunk }) => this.#receive(chunk));
    const { slot, publications, startLsn } = this.#options;
    const names = publications.map((name) => `"${name}"`).join(',');
    try {
      await this.#client.connect();
      const started = new Promise<void>((resolve) => {
        this.#wire.once('replicationStart', resolve);
      });
      const copying = this.#client.query(
        `START_REPLICATION SLOT "${slot}" LOGICAL ${formatLsn(startLsn)} ` +
          `(proto_version '1', publication_names '${names}')`,
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
  async *batches(signal: AbortSignal): AsyncGenerator<Arrival[]> {
    while (!signal.aborted) {
      if (this.#arrived.length > 0) {
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

  #take(): Arrival[] {
    const batch = this.#arrived;
    this.#arrived = [];
    this.#arrivedBytes = 0;
    if (this.#paused) {
      this.#paused = false;
      this.#lastReceivedAt = performance.now();
      this.#wire.stream.resume();
    }
    return batch;
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
    if (chunk[0] === tag.data) {
      // `pg` uses the memory behind `chunk` again as soon as this returns.
      const payload = Buffer.from(chunk.subarray(dataHeader));
      this.#arrived.push({ tag: 'data', lsn: chunk.readBigUInt64BE(1), payload });
      this.#arrivedBytes += chunk.length + overheadBytes;
      if (this.#arrivedBytes > highWaterBytes && !this.#paused) {
        this.#paused = true;
        this.#wire.stream.pause();
      }
    } else if (chunk[0] === tag.keepalive) {
      this.#arrived.push({ tag: 'keepalive', position: chunk.readBigUInt64BE(1) });
      if (chunk[17] === 1) this.#sendStatus(false);
    }
    this.#wake?.();
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

  /** Standby status update: written, flushed and applied up to what is confirmed. */
  #sendStatus(replyRequested: boolean): void {
    if (this.#ended) return;
    const confirmed = this.#options.confirmed();
    const message = Buffer.alloc(34);
    message[0] = tag.status;
    message.writeBigUInt64BE(confirmed, 1);
    message.writeBigUInt64BE(confirmed, 9);
    message.writeBigUInt64BE(confirmed, 17);
    message.writeBigInt64BE(toPostgresMicroseconds(Date.now()), 25);
    message[33] = replyRequested ? 1 : 0;
    this.#wire.sendCopyFromChunk(message);
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
