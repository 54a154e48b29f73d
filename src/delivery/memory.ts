/** What all subscriptions together may hold in memory. */

/** Rows of the table that may be known in memory, without their bodies. */
const mostRows = 50_000;

export class Memory {
  /** Bytes of events. */
  readonly limit: number;
  #used = 0;
  #rows = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** Nothing more should be taken over. */
  get isFull(): boolean {
    return this.#used > this.limit;
  }

  /** What can wait in the table should. */
  get isCrowded(): boolean {
    return this.#used > this.limit * 0.75 || this.#rows > mostRows;
  }

  /** Reckons with so many bytes more, or less. */
  add(bytes: number): void {
    this.#used += bytes;
  }

  addRows(count: number): void {
    this.#rows += count;
  }
}
