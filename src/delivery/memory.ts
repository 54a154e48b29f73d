/** What all subscriptions together may hold in memory. */

/** Rows of the table that may be known in memory, without their bodies. */
const mostRows = 50_000;

export class Memory {
  /** Bytes of events. */
  readonly limit: number;
  #used = 0;
  #rows = 0;
  #wake: (() => void)[] = [];

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
    if (bytes < 0 && !this.isFull) this.#release();
  }

  addRows(count: number): void {
    this.#rows += count;
  }

  /** Resolves when no more than the limit is used, or when the signal fires. */
  async room(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', this.#release);
    while (this.isFull && !signal.aborted) {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    signal.removeEventListener('abort', this.#release);
  }

  readonly #release = () => {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  };
}
