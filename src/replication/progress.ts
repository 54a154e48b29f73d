/**
 * What may be confirmed to the server.
 *
 * Invariant: `confirmed` is the end of a commit record (or a keepalive's position) such that every
 * transaction that was received before it has been committed in the stream and released by each
 * of its holders. So all that lies behind it is durably done, and nothing that is not is ever
 * confirmed. It never moves back.
 */
import type { Lsn } from './lsn.js';

/** A transaction of the stream, kept open by its own COMMIT message and by each undone piece of work. */
export interface Transaction {
  /** One more piece of work has to be done before the transaction counts as done. */
  hold(): void;
  /** A piece of work is done. */
  release(): void;
}

class OpenTransaction implements Transaction {
  #holds = 1;
  end: Lsn | undefined;
  readonly #settle: () => void;

  constructor(settle: () => void) {
    this.#settle = settle;
  }

  get done(): boolean {
    return this.#holds === 0;
  }

  hold(): void {
    this.#holds++;
  }

  release(): void {
    if (--this.#holds === 0) this.#settle();
  }
}

export class Progress {
  #confirmed: Lsn;
  #open: OpenTransaction[] = [];
  #current: OpenTransaction | undefined;

  constructor(confirmed: Lsn) {
    this.#confirmed = confirmed;
  }

  get confirmed(): Lsn {
    return this.#confirmed;
  }

  /** True when nothing that was received is undone. */
  get idle(): boolean {
    return this.#open.length === 0;
  }

  /** BEGIN was received. */
  begin(): Transaction {
    const transaction = new OpenTransaction(() => this.#settle());
    this.#open.push(transaction);
    this.#current = transaction;
    return transaction;
  }

  /** COMMIT of the current transaction was received; `end` is the end of its commit record. */
  commit(end: Lsn): void {
    const transaction = this.#current;
    if (!transaction) throw new Error('COMMIT without BEGIN');
    this.#current = undefined;
    transaction.end = end;
    transaction.release();
  }

  /** A keepalive was received: the server has sent all that lies before `position`. */
  keepalive(position: Lsn): void {
    if (this.idle) this.#advance(position);
  }

  #settle(): void {
    let done = 0;
    let end: Lsn | undefined;
    for (const transaction of this.#open) {
      if (!transaction.done) break;
      end = transaction.end;
      done++;
    }
    if (end === undefined) return;
    this.#open.splice(0, done);
    this.#advance(end);
  }

  #advance(position: Lsn): void {
    if (position > this.#confirmed) this.#confirmed = position;
  }
}
