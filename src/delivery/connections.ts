import type { Socket } from 'node:net';
import { Client } from 'undici';
import type { Connect } from './address-guard.js';
import { Deadline } from './deadline.js';

/** A connection that nothing is sent over is closed after this time, whatever its server proposes. */
const keepIdleMs = 10_000;

/** At most one socket to an origin, for one request at a time. */
export interface Connection {
  readonly origin: string;
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

/**
 * The connections to all endpoints. There are never more of them than requests in flight and those
 * that were used a short while ago.
 */
export class Connections {
  readonly #connect: Connect;
  readonly #open = new Set<Connection>();
  readonly #idle = new Map<string, Connection[]>();
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
    const idle = this.#idle.get(origin);
    if (!idle) return this.create(origin);
    if (idle.length === 1) this.#idle.delete(origin);
    return idle.pop()!;
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
      },
    });
    const connection: Connection = {
      origin,
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
    return connection;
  }

  /** Keeps it for the next request. */
  giveBack(connection: Connection): void {
    connection.wasUsed = true;
    connection.deadline.callOff();
    connection.reader = undefined;
    const idle = this.#idle.get(connection.origin);
    if (idle) idle.push(connection);
    else this.#idle.set(connection.origin, [connection]);
  }

  /** Closes it at once, also while it is connecting; what it was sent fails. */
  discard(connection: Connection): Promise<void> {
    connection.deadline.callOff();
    connection.reader = undefined;
    this.#open.delete(connection);
    const closed = connection.client.destroy();
    connection.socket?.destroy();
    return closed;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#idle.clear();
    await Promise.all(Array.from(this.#open, (connection) => this.discard(connection)));
  }

  #forgetIdle(connection: Connection): void {
    const idle = this.#idle.get(connection.origin);
    if (!idle?.includes(connection)) return;
    if (idle.length === 1) this.#idle.delete(connection.origin);
    else idle.splice(idle.indexOf(connection), 1);
    void this.discard(connection);
  }
}
