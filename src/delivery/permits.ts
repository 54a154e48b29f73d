/**
 * How many requests all subscriptions together may have under way. Up to `shared` any of them may
 * begin as many as its own settings allow; beyond, up to `most`, each may have only one. So nobody
 * is kept waiting by some endpoints that do not answer, and sockets stay bounded.
 */
/** So many are told at most when a request has ended. */
const mostTold = 100;

export class Permits {
  readonly #shared: number;
  readonly #most: number;
  #taken = 0;
  readonly #waiting = new Set<() => void>();

  constructor(shared = 1_000, most = 2_000) {
    this.#shared = shared;
    this.#most = most;
  }

  /** Whether somebody who has `own` requests under way may begin another one. */
  isFree(own: number): boolean {
    return this.#taken < this.#shared || (own === 0 && this.#taken < this.#most);
  }

  take(): void {
    this.#taken++;
  }

  /** A request has ended: whoever has waited longest may begin one, or the next if it does not. */
  give(): void {
    const taken = --this.#taken;
    if (this.#waiting.size === 0) return;
    for (const wake of firstOf(this.#waiting, mostTold)) {
      this.#waiting.delete(wake);
      wake();
      if (this.#taken > taken) return;
    }
  }

  /** Calls `wake` once, when a request has ended. */
  wait(wake: () => void): void {
    this.#waiting.add(wake);
  }
}

function firstOf<T>(items: Iterable<T>, most: number): T[] {
  const first: T[] = [];
  for (const item of items) {
    if (first.length === most) break;
    first.push(item);
  }
  return first;
}
