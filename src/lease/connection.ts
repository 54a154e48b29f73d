/** A connection for short questions: opened when it is needed, and left when it does not answer. */
import pg from 'pg';
import { pgOptions, type Connection } from '../settings/connection.js';
import { databaseError } from '../settings/database-error.js';
import { answered } from '../source/persist.js';

interface ShortOptions {
  readonly connection: Connection;
  /** How long connecting, and then each answer, may take. */
  readonly answerMs: number;
  /** What commits wait for: nothing, or the server's own disk (never for its stand-bys). */
  readonly commit: 'off' | 'local';
}

/** Asks the database, with a query whose parameters are texts; errors are PgstreamErrors. */
export type Ask = <Row extends object>(
  text: string,
  values?: readonly (string | null)[],
) => Promise<Row[]>;

/** Asks over a connection that is open; errors are those of the driver. */
export const askOver =
  (client: pg.ClientBase): Ask =>
  async <Row extends object>(text: string, values: readonly (string | null)[] = []) =>
    (await client.query<Row>(text, [...values])).rows;

export class ShortConnection {
  readonly #options: ShortOptions;
  #client: Promise<pg.Client> | undefined;

  constructor(options: ShortOptions) {
    this.#options = options;
  }

  /** After any error the next question is asked on a new connection. */
  readonly ask: Ask = async <Row extends object>(
    text: string,
    values: readonly (string | null)[] = [],
  ) => {
    try {
      const client = await (this.#client ??= this.#connect());
      const { rows } = await answered(client.query<Row>(text, [...values]), this.#options.answerMs);
      return rows;
    } catch (error) {
      this.close();
      throw databaseError(error, this.#options.connection);
    }
  };

  /** Runs work between begin and commit; any error leaves the connection, which undoes the work. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.ask('begin isolation level read committed');
    try {
      const result = await work();
      await this.ask('commit');
      return result;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Says good-bye to the server. The next question is asked on a new connection. */
  async end(): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    this.#client = undefined;
    if (!client) return;
    await answered(client.end(), this.#options.answerMs).catch(() => destroy(client));
  }

  /** Leaves at once, whatever is under way. */
  close(): void {
    const closing = this.#client;
    this.#client = undefined;
    closing?.then(destroy, () => undefined);
  }

  async #connect(): Promise<pg.Client> {
    const { connection, answerMs, commit } = this.#options;
    const options = pgOptions(connection);
    const client = new pg.Client({
      ...options,
      options: `${options.options} -c synchronous_commit=${commit}`,
      connectionTimeoutMillis: answerMs,
    });
    client.on('error', () => undefined); // reported by the query that it breaks
    try {
      await client.connect();
      return client;
    } catch (error) {
      destroy(client);
      throw error;
    }
  }
}

function destroy(client: pg.Client): void {
  (
    client as unknown as { connection: { stream: { destroy(): void } } }
  ).connection.stream.destroy();
}
