/** An event that is to be judged, and what is found of it. */
import type { Action } from '../event/encode.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { Captured, Plan } from './plan.js';

export type Verdict =
  /** Without a body: the usual one. */
  | { readonly kind: 'send'; readonly body?: string }
  | { readonly kind: 'skip' }
  | { readonly kind: 'failed'; readonly reason: string; readonly isInvalid: boolean };

/** An event for one subscription. */
export interface Target {
  readonly subscription: Subscription;
  /** The position of its program in the plan; none where it only keeps its place behind others. */
  readonly position: number | undefined;
}

/** An event, and those who wait for its verdicts. */
export interface Question {
  readonly plan: Plan;
  readonly captured: Captured;
  readonly action: Action;
  /** The time of the commit, as Postgres prints it. */
  readonly timestamp: string;
  readonly targets: readonly Target[];
  /** Bytes of memory that it takes. */
  readonly bytes: number;
  /** Told of whatever is not skipped. */
  readonly settle: (target: Target, verdict: Verdict) => void;
  /** All targets are settled. */
  readonly done: () => void;
}

/** A question of which so many targets are not settled yet. */
export interface Pending extends Omit<Question, 'targets'> {
  targets: readonly Target[];
  open: number;
}

export const send: Verdict = { kind: 'send' };
export const skip: Verdict = { kind: 'skip' };

/** The events as a statement takes them. */
export function eventsOf(questions: readonly Pending[]): string {
  const events = questions.map(({ captured, action, timestamp }, i) => {
    const values = captured.values.map((value, n) => (value === 'null' ? '' : `,"k${n}":${value}`));
    return `{"i":${i},"o":"${action}","t":"${timestamp}"${values.join('')}}`;
  });
  return `[${events.join(',')}]`;
}
