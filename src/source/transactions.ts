/**
 * Transactions, one after the other, on a connection of their own. The driver may forget a
 * transaction whose connection is lost while it begins, so the connection is made anew after each
 * failure.
 */
import type { Sql, TransactionSql } from 'postgres';

export class Transactions {
  readonly #connect: () => Sql;
  /** Repeats a transaction while Postgres is away. */
  readonly #keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
  #idle: Sql | undefined;
  #busy: Sql | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(connect: () => Sql, keepTrying: <T>(work: () => Promise<T>) => Promise<T>) {
    this.#connect = connect;
    this.#keepTrying = keepTrying;
  }

  /** Commits what `work` did, when all earlier ones are done. It may be run several times. */
  run<T>(work: (sql: TransactionSql) => Promise<T>): Promise<T> {
    const result = this.#last.then(() => this.#keepTrying(() => this.#once(work)));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async close(): Promise<void> {
    await Promise.all([this.#idle?.end({ timeout: 1 }), this.#busy?.end({ timeout: 0 })]);
  }

  async #once<T>(work: (sql: TransactionSql) => Promise<T>): Promise<T> {
    // What is left of one that has failed, or has got no answer in time.
    void this.#busy?.end({ timeout: 0 });
    const sql = this.#idle ?? this.#connect();
    this.#idle = undefined;
    this.#busy = sql;
    const result = (await sql.begin(work)) as T;
    if (this.#busy === sql) {
      this.#idle = sql;
      this.#busy = undefined;
    }
    return result;
  }
}
