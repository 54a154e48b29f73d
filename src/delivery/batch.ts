/** What one request carries: a single event, or a JSON array of several. */
import { createHash } from 'node:crypto';
import { joinDocuments } from '../event/slice.js';
import { isBefore, type Delivery } from './delivery.js';
import type { Queue } from './queue.js';

export interface Batch {
  /** `webhook-id`: that of the event, or one made of the ids of the members. */
  readonly id: string;
  /** In the order in which the receiver is to take them. */
  readonly members: readonly Delivery[];
  readonly isArray: boolean;
}

/** A batch is closed when its bodies have reached this. */
const mostBytes = 4 * 1024 * 1024;

/** A batch of these, in this order. */
export function batchOf(members: readonly Delivery[], isArray: boolean): Batch {
  for (const member of members) member.batched = true;
  return { id: isArray ? batchId(members) : members[0]!.id, members, isArray };
}

function batchId(members: readonly Delivery[]): string {
  const hash = createHash('sha256').update(members.map(({ id }) => id).join(' '));
  return `bat_${hash.digest('hex').slice(0, 32)}`;
}

/**
 * Takes up to `most` deliveries that are ready and whose bodies are there, with those that wait for
 * nothing but others of the same batch, roughly in the order of the log; all of one format. The first
 * is known to be one that may be sent.
 */
export function cutBatch(
  ready: Queue<Delivery>,
  most: number,
  mayBeSent: (delivery: Delivery) => boolean,
): Delivery[] {
  if (most === 1 || isAlone(ready.peek())) return takeOne(ready);
  const members: Delivery[] = [];
  const joining: Delivery[] = [];
  const met = new Map<Delivery, number>();
  for (let bytes = 0; members.length < most && bytes < mostBytes;) {
    dropDone(ready);
    const peeked = ready.peek();
    const isReady = peeked?.body !== undefined && (members.length === 0 || mayBeSent(peeked));
    const first = isReady ? peeked : undefined;
    const [joiner] = joining;
    const next = joiner && (!first || isBefore(joiner, first)) ? joiner : first;
    if (!next || next.format !== (members[0] ?? next).format) break;
    if (next === first) ready.shift();
    else joining.shift();
    members.push(next);
    bytes += next.bytes;
    for (const follower of next.followers as Delivery[]) {
      const count = (met.get(follower) ?? 0) + 1;
      met.set(follower, count);
      const isThere = follower.body !== undefined && !follower.done && mayBeSent(follower);
      if (count === follower.waitsFor && isThere) joining.push(follower);
    }
  }
  return members;
}

/** Its attributes are headers, of which there is one set a request. */
export const isAlone = (delivery: Delivery | undefined): boolean =>
  delivery?.format === 'cloudevents_binary';

function takeOne(ready: Queue<Delivery>): Delivery[] {
  dropDone(ready);
  return ready.peek()?.body === undefined ? [] : [ready.shift()!];
}

function dropDone(ready: Queue<Delivery>): void {
  while (ready.peek()?.done) ready.shift();
}

/** What is sent. */
export const bodyOf = ({ members, isArray }: Batch): Buffer =>
  isArray ? joinDocuments(members.map(({ body }) => body!)) : members[0]!.body!.toBuffer();
