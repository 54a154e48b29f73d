import type { Socket } from 'node:net';
import { Client } from 'undici';
import type { Connect } from './address-guard.js';
import { Deadline } from './deadline.js';

/** A connection that nothing is sent over is closed after this time, whatever its server proposes. */
const keepIdleMs = 10_000;

/** At most one socket to an origin, for one request at a time. */
export interface Connection {
  readonly origin: Origin;
  readonly client: Client;
  /** Also while it is connecting. */
  socket: Socket | undefined;
  /** Whether a request has been answered over this very socket. */
  wasUsed: boolean;
  /** When its request has taken too long. */
  readonly deadline: Deadline;
  /** Told after something has been read and parsed. */
  reader: Reader | undefined;
}

interface Reader {
  onRead(): void;
}

interface Origin {
  readonly url: string;
  /** How many connections there are to it … */
  open: number;
  /** … and which of them have no request under way; the last was used last. */
  readonly idle: Connection[];
}

/**
 * The connections to all endpoints. There are never more of them than requests in flight and those
 * that were used a short while ago.
 */
export class Connections {
  readonly #connect: Connect;
  readonly #open = new Set<Connection>();
  readonly #origins = new Map<string, Origin>();
  #isClosed = false;

  constructor(connect: Connect) {
    this.#connect = connect;
  }

  /**
   * The idle connection that was used last, or a new one; it connects when it is sent a request.
   *
   * @throws where the origin is not one of HTTP, and after `close`.
   */
  take(origin: string): Connection {
    return this.#origins.get(origin)?.idle.pop() ?? this.create(origin);
  }

  /**
   * A new connection.
   *
   * @throws as `take` does.
   */
  create(origin: string): Connection {
    if (this.#isClosed) throw new Error('all connections have been closed');
    const client = new Client(origin, {
      keepAliveTimeout: keepIdleMs,
      keepAliveMaxTimeout: keepIdleMs,
      maxHeaderSize: 16 * 1024,
      // One deadline for the whole attempt stands in for these.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (options, callback) => {
        connection.socket = this.#connect(options, callback);
        if (connection.socket) writeAtOnce(connection.socket);
      },
    });
    const connection: Connection = {
      origin: this.#originOf(origin),
      client,
      socket: undefined,
      wasUsed: false,
      deadline: new Deadline(),
      reader: undefined,
    };
    // The parser has been attached to the socket by now, and hears of what is read first.
    client.on('connect', () =>
      connection.socket?.on('readable', () => connection.reader?.onRead()),
    );
    client.on('disconnect', () => {
      connection.wasUsed = false;
      this.#forgetIdle(connection);
    });
    this.#open.add(connection);
    connection.origin.open++;
    return connection;
  }

  /** Keeps it for the next request. */
  giveBack(connection: Connection): void {
    connection.wasUsed = true;
    connection.deadline.callOff();
    connection.reader = undefined;
    connection.origin.idle.push(connection);
  }

  /** Closes it at once, also while it is connecting; what it was sent fails. */
  discard(connection: Connection): Promise<void> {
    connection.deadline.callOff();
    connection.reader = undefined;
    const { origin } = connection;
    if (this.#open.delete(connection) && --origin.open === 0) this.#origins.delete(origin.url);
    const closed = connection.client.destroy();
    connection.socket?.destroy();
    return closed;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Array.from(this.#open, (connection) => this.discard(connection)));
  }

  #forgetIdle(connection: Connection): void {
    const { idle } = connection.origin;
    const place = idle.indexOf(connection);
    if (place < 0) return;
    idle.splice(place, 1);
    void this.discard(connection);
  }

  #originOf(url: string): Origin {
    let origin = this.#origins.get(url);
    if (!origin) this.#origins.set(url, (origin = { url, open: 0, idle: [] }));
    return origin;
  }
}

/** Beyond so many bytes to copy them costs more than a longer list of them. */
const mostJoined = 16 * 1024;

/**
 * What is written while the socket is corked, as the head of a request and its body, leaves it in one
 * piece, which costs the system, and TLS, less than two.
 */
function writeAtOnce(socket: Socket): void {
  const writeApart = socket._writev!.bind(socket);
  let memory = Buffer.alloc(0);
  socket._writev = (chunks, callback) => {
    let length = 0;
    for (const { chunk, encoding } of chunks) length += Buffer.byteLength(chunk, encoding);
    const isAllSent = socket.writableLength === length;
    if (length > mostJoined || !isAllSent) return writeApart(chunks, callback);
    if (length > memory.length) memory = Buffer.allocUnsafeSlow(2 * length);
    let at = 0;
    for (const { chunk, encoding } of chunks) {
      at += typeof chunk === 'string' ? memory.write(chunk, at, encoding) : chunk.copy(memory, at);
    }
    socket._write(memory.subarray(0, length), 'buffer' as BufferEncoding, callback);
  };
}
