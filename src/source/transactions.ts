/**
 * The transactions in which a runner writes, one after the other, on a connection of their own that
 * is made anew after each failure.
 */
import pg from 'pg';
import { pgOptions, type Connection } from '../settings/connection.js';

export interface TransactionsOptions {
  readonly connection: Connection;
  /** The first statement of each transaction: fails where another runner has taken over. */
  readonly fence: (client: pg.Client) => Promise<void>;
  /** Repeats a transaction while Postgres is away. */
  readonly keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
}

export class Transactions {
  readonly #options: TransactionsOptions;
  #idle: pg.Client | undefined;
  #busy: pg.Client | undefined;
  #last: Promise<unknown> = Promise.resolve();
  readonly #lost = new WeakMap<pg.Client, Error>();

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /** Commits what `work` did, when all earlier ones are done. It may be run several times. */
  run<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const result = this.#last.then(() => this.#options.keepTrying(() => this.#once(work)));
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Leaves at once, whatever is under way. */
  close(): void {
    for (const client of [this.#idle, this.#busy]) if (client) destroy(client);
  }

  async #once<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    // What is left of one that has failed, or has got no answer in time.
    if (this.#busy) destroy(this.#busy);
    const client = (this.#busy = this.#idle ?? this.#open());
    const isNew = client !== this.#idle;
    this.#idle = undefined;
    try {
      if (isNew) await client.connect();
      await client.query('begin isolation level read committed');
      await this.#options.fence(client);
      const result = await work(client);
      await client.query('commit');
      if (this.#busy === client) {
        this.#idle = client;
        this.#busy = undefined;
      }
      return result;
    } catch (error) {
      // The query that comes after the loss tells less of it.
      throw this.#lost.get(client) ?? error;
    }
  }

  #open(): pg.Client {
    const client = new pg.Client(pgOptions(this.#options.connection));
    client.on('error', (error) => {
      this.#lost.set(client, error);
      if (this.#idle === client) this.#idle = undefined;
    });
    return client;
  }
}

function destroy(client: pg.Client): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } };
  connection.stream.destroy();
}
