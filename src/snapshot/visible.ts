/** What a snapshot of Postgres sees. */

const span = 1n << 32n;

export class Visible {
  readonly #xmin: bigint;
  readonly #xmax: bigint;
  readonly #underWay: ReadonlySet<bigint>;

  /**
   * `text`: as `pg_current_snapshot()` prints it, `xmin:xmax:xip,…`, of 64-bit ids of transactions
   * without their subtransactions.
   * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
   */
  constructor(text: string) {
    const [xmin = '', xmax = '', list = ''] = text.split(':');
    this.#xmin = BigInt(xmin);
    this.#xmax = BigInt(xmax);
    this.#underWay = new Set(list.split(',').filter(Boolean).map(BigInt));
  }

  /** Whether it sees the committed transaction of this 32-bit id, as BEGIN messages tell it. */
  has(xid: number): boolean {
    const id = this.#extend(BigInt(xid));
    return id < this.#xmin || (id < this.#xmax && !this.#underWay.has(id));
  }

  /** The 64-bit id that is nearest: no two ids in use are further apart than half the circle. */
  #extend(xid: bigint): bigint {
    const id = this.#xmax - (this.#xmax % span) + xid;
    if (id > this.#xmax + span / 2n) return id - span;
    return id + span / 2n < this.#xmax ? id + span : id;
  }
}
