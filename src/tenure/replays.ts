/**
 * Requests of `pgstream.replay()`: rows, and no notification, for a transaction that has notified
 * cannot be prepared.
 *
 * Each runner of the database has to see a request, whichever slot it reads. So one that was seen
 * stays for a while before it is removed.
 */
import type { Sql } from 'postgres';
import type { Dispatcher } from '../delivery/dispatcher.js';
import { arrayLiteral } from '../source/array-literal.js';

/** How often it is looked for requests. */
export const replayMs = 1_000;
/** How long a request stays after it was seen: others look for it more often than that. */
const keepMs = 60_000;

/** Makes a function that has the dispatcher act on the requests that have come since. */
export function followReplays(
  sql: Sql,
  dispatcher: Pick<Dispatcher, 'replay'>,
  now: () => number = () => performance.now(),
): () => Promise<void> {
  const seenAt = new Map<string, number>();
  return async () => {
    const requests = await sql<{ id: string; subscription: string }[]>`
      select id::text, subscription::text from pgstream.replay_requests`;
    const moment = now();
    const wanted = new Set<string>();
    for (const { id, subscription } of requests) {
      if (seenAt.has(id)) continue;
      seenAt.set(id, moment);
      wanted.add(subscription);
    }
    for (const subscription of wanted) dispatcher.replay(Number(subscription));

    const there = new Set(requests.map(({ id }) => id));
    const old = [...seenAt].filter(([, at]) => moment - at >= keepMs).map(([id]) => id);
    if (old.length > 0) {
      await sql`delete from pgstream.replay_requests where id = any(${arrayLiteral(old)}::bigint[])`;
    }
    for (const id of seenAt.keys()) if (!there.has(id) || old.includes(id)) seenAt.delete(id);
  };
}
