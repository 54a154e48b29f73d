/**
 * A moment that is set far more often than it comes: a timer is only started where none runs that
 * fires early enough. Moments are those of `performance.now()`.
 */
export class Deadline {
  #timer: NodeJS.Timeout | undefined;
  #firesAt = 0;
  #due = 0;
  #waiter: Waiter | undefined;

  /** Tells the waiter at that moment, in place of what was set before. */
  set(due: number, waiter: Waiter): void {
    this.#due = due;
    this.#waiter = waiter;
    if (!this.#timer || this.#firesAt > due) this.#start();
  }

  /** Nobody is told, unless it is set again. */
  callOff(): void {
    this.#waiter = undefined;
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#firesAt = this.#due;
    this.#timer = setTimeout(() => this.#fire(), this.#due - performance.now()).unref();
  }

  #fire(): void {
    this.#timer = undefined;
    const waiter = this.#waiter;
    if (!waiter) return;
    // Timers count in whole milliseconds.
    if (this.#due - performance.now() > 1) return this.#start();
    this.#waiter = undefined;
    waiter.onDeadline();
  }
}

interface Waiter {
  onDeadline(): void;
}
