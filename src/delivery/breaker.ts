import { backoffMs } from './backoff.js';

/** Failures in a row, without a success of any delivery between them, that open the breaker. */
const failuresToOpen = 5;
const backoff = { firstMs: 1_000, mostMs: 60_000 };

/**
 * Keeps a failing endpoint from being hammered. Closed, everything is sent. Open, nothing is, until
 * a time comes; then one delivery is sent as a probe, whose success closes it and whose failure keeps
 * it open for longer. Times are in milliseconds on any clock that does not go back.
 */
export class Breaker {
  #failures = 0;
  #openings = 0;
  #openUntil: number | undefined;
  #probing = false;

  get isOpen(): boolean {
    return this.#openUntil !== undefined;
  }

  /** When the next probe may be sent; undefined while closed. */
  get openUntil(): number | undefined {
    return this.#openUntil;
  }

  /** Whether an attempt may begin now. If the breaker is open, it is taken for the probe. */
  admits(now: number): boolean {
    if (this.#openUntil === undefined) return true;
    if (this.#probing || now < this.#openUntil) return false;
    this.#probing = true;
    return true;
  }

  /** An attempt was accepted. True when that has closed the breaker. */
  succeeded(): boolean {
    const wasOpen = this.isOpen;
    this.#failures = 0;
    this.#openings = 0;
    this.#openUntil = undefined;
    this.#probing = false;
    return wasOpen;
  }

  /** An attempt was not accepted. `pauseMs`: how long the endpoint asked to be left alone. */
  failed(now: number, random: number, pauseMs = 0): void {
    this.#failures++;
    if (this.#probing || this.#failures >= failuresToOpen || pauseMs > 0) {
      if (!this.isOpen || this.#probing) this.#openings++;
      const openMs = Math.max(pauseMs, backoffMs(backoff, this.#openings, random));
      this.#openUntil = Math.max(this.#openUntil ?? 0, now + openMs);
    }
    this.#probing = false;
  }

  /** Lets the next attempt begin at once. */
  reset(): void {
    if (this.isOpen) this.#openUntil = 0;
  }
}
