/** How much may be sent at once after a pause, as a share of a second. */
const burstMs = 100;

/** Spaces requests: `rate` a second at most. Times are in milliseconds on a clock that does not go back. */
export class RateLimit {
  /** When the next request would be due if they came evenly. */
  #due = 0;

  /** How long to wait before the next request; 0 when it may begin now, and then it counts. */
  take(rate: number, now: number): number {
    const due = Math.max(this.#due, now);
    const wait = due - now - burstMs;
    if (wait > 0) return wait;
    this.#due = due + 1000 / rate;
    return 0;
  }
}
