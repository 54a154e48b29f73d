/**
 * How much of one subscription may wait in memory, and when the log waits for its endpoint instead of
 * having events stored.
 *
 * Invariant: the log waits only for an endpoint that takes events as fast as they are sent, and only
 * while the runner itself is what is slow, which to store them would make slower still, or while no
 * other subscription waits with it and the log is not late.
 */
import type { Backlog } from './backlog.js';
import type { Custody } from './custody.js';
import type { Delivery } from './delivery.js';
import type { Memory } from './memory.js';
import type { Sender } from './sender.js';

export interface PatienceContext {
  readonly memory: Memory;
  readonly defaultMaxInFlight: number;
  /** Whether the runner itself has so much to do that endpoints wait for it. */
  readonly isBusy: () => boolean;
  /** Whether no other subscription has had events, so that none waits for the log with this one. */
  readonly isAlone: () => boolean;
}

/** An endpoint whose oldest event is younger is waited for, where it would have to be stored else. */
const quickMs = 500;
/** The same where the log may wait: to store events would only cost more. */
const patientQuickMs = 2_000;
/** So many events are enough in memory then, beside those that may be under way. */
const patientWindow = 200;

export class Patience {
  readonly #custody: Custody;
  readonly #backlog: Backlog;
  readonly #sender: Sender;
  readonly #context: PatienceContext;

  constructor(custody: Custody, backlog: Backlog, sender: Sender, context: PatienceContext) {
    this.#custody = custody;
    this.#backlog = backlog;
    this.#sender = sender;
    this.#context = context;
  }

  /**
   * Whether waiting a moment for the endpoint is better than storing what comes next; where the log waits
   * already, it waits until there is room for several.
   */
  isWorthIt(since: 'now' | 'before'): boolean {
    const { unstoredBytes, window } = this.#custody;
    const share = since === 'now' ? 1 : 0.5;
    const isOver =
      unstoredBytes > this.#share * share ||
      (this.#isPatient && window.size > this.#mostUnderWay + patientWindow * share);
    return isOver && !this.#backlog.hasTail && this.isQuick;
  }

  /** Whether the endpoint has accepted so far what came, and not long ago. */
  get isQuick(): boolean {
    const oldest = this.#custody.window.oldestHeld;
    const mostMs = this.#isPatient ? patientQuickMs : quickMs;
    const isRecent = !!oldest && performance.now() - oldest.since < mostMs;
    return isRecent && this.#sender.isUp && this.#custody.subscription.enabled;
  }

  /** Whether the delivery may be in memory alone, whatever its endpoint does. */
  hasRoom({ bytes }: Delivery): boolean {
    const { subscription, window, unstoredBytes } = this.#custody;
    if (!subscription.enabled || window.isFull) return false;
    return window.size === 0 || unstoredBytes + bytes <= this.#share;
  }

  /** Whether to hold the log up for a moment hurts nobody. */
  get #isPatient(): boolean {
    const { isBusy, isAlone } = this.#context;
    return isBusy() || (isAlone() && this.#custody.window.oldestHeld?.isLate === false);
  }

  /** Bytes of memory that its events may take before they are stored. */
  get #share(): number {
    const { limit, isCrowded } = this.#context.memory;
    return isCrowded ? limit / 16 : limit / 2;
  }

  get #mostUnderWay(): number {
    const { maxInFlight, batchSize } = this.#custody.subscription;
    return (maxInFlight ?? this.#context.defaultMaxInFlight) * batchSize;
  }
}
