import type { Lsn } from '../replication/lsn.js';

/** A moment by the server's clock, and where its log ended then. */
export interface Watermark {
  readonly position: Lsn;
  readonly at: string;
}

/** So many are kept; older ones are thinned out beyond. */
const most = 1_000;

/** Turns a position of the log into a moment: all that was committed before it lies before that. */
export class Watermarks {
  #marks: Watermark[] = [];
  #passed: string | undefined;

  /** Marks must come in their order. */
  add(mark: Watermark): void {
    this.#marks.push(mark);
    if (this.#marks.length > most) this.#marks = this.#marks.filter((_, i) => i % 2 === 1);
  }

  /** The latest moment before which everything lies behind `position`; undefined if none is known. */
  pass(position: Lsn): string | undefined {
    for (let first = this.#marks[0]; first && first.position <= position; first = this.#marks[0]) {
      this.#passed = first.at;
      this.#marks.shift();
    }
    return this.#passed;
  }
}
