/** What becomes of a batch that was not accepted. */
import type { Subscription } from '../subscriptions/subscription.js';
import { batchOf, type Batch } from './batch.js';
import type { Delivery, Failure } from './delivery.js';

export interface Outcome {
  /** Tried for long enough, by the subscription's own settings. */
  readonly exhausted: readonly Delivery[];
  /** To be sent again. */
  readonly again: readonly Batch[];
  /** Whether it was taken apart to find what is refused of it; then there is nothing to wait for. */
  readonly isSplit: boolean;
}

/** `isPaused`: the endpoint as a whole is left alone, so that it may not be the fault of the batch. */
export function outcomeOf(
  batch: Batch,
  failure: Failure,
  isPaused: boolean,
  { onExhausted, retryForMs }: Pick<Subscription, 'onExhausted' | 'retryForMs'>,
): Outcome {
  const { members, isArray } = batch;
  // While the endpoint takes other requests, it is something in this one that it does not take.
  const isAlone = !isPaused && members[0]!.attempts > 1;
  const isSplit = members.length > 1 && (isRefusal(failure) || isAlone);
  const isExhausted = ({ activeMs }: Delivery) =>
    onExhausted === 'dead_letter' && activeMs >= retryForMs && !isSplit;
  const exhausted = members.filter(isExhausted);
  if (exhausted.length === 0 && !isSplit) return { exhausted, again: [batch], isSplit };
  for (const member of members) member.batched = false;
  // What came along behind another member comes again when that one is done.
  const rest = members.filter((member) => !isExhausted(member) && member.waitsFor === 0);
  return { exhausted, again: halves(rest).map((half) => batchOf(half, isArray)), isSplit };
}

/** Whether the endpoint is there and refuses what it was sent. */
const isRefusal = ({ status }: Failure) =>
  status !== null && status >= 400 && status < 500 && ![408, 410, 425, 429].includes(status);

/** The two halves of a list, those that are not empty. */
function halves<T>(items: readonly T[]): (readonly T[])[] {
  const middle = Math.ceil(items.length / 2);
  return [items.slice(0, middle), items.slice(middle)].filter(({ length }) => length > 0);
}
