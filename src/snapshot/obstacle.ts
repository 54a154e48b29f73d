/** Why the rows of a table cannot be handed out at this moment. */
import type { Sql } from 'postgres';
import type { Dispatcher } from '../delivery/dispatcher.js';
import type { Registry } from '../subscriptions/registry.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { Job } from './jobs.js';

export interface Obstacle {
  readonly reason: string;
  /** Waiting does not help. */
  readonly isForGood: boolean;
}

interface Around {
  readonly dispatcher: Dispatcher;
  readonly registry: Registry;
  readonly sql: Sql;
}

/** Of the quota of a subscription that is not alone in being sent the rows. */
const mostShare = 0.5;

export async function obstacleTo(
  job: Job,
  { dispatcher, registry, sql }: Around,
): Promise<Obstacle | undefined> {
  const { schema, table, subscription } = job;
  const recipients = registry
    .match(schema, table, 'I')
    .filter(({ id }) => (subscription ?? id) === id);
  if (recipients.length === 0) return whyNobody(job, sql);
  for (const recipient of recipients) {
    const reason = obstacleOf(recipient, dispatcher, subscription !== null);
    if (reason !== undefined) return { reason, isForGood: false };
  }
  return undefined;
}

/** The stream may not have passed the subscription yet. */
async function whyNobody({ oid, subscription, setting }: Job, sql: Sql): Promise<Obstacle> {
  const [row] = await sql<{ wanted: boolean }[]>`
    select pgstream._wants_inserts(${subscription}::bigint, ${oid}::oid) as wanted`;
  if (row?.wanted) {
    return { reason: 'the log has not been read up to its subscription yet', isForGood: false };
  }
  return { reason: 'no subscription is sent inserts of it', isForGood: setting === null };
}

function obstacleOf(
  recipient: Subscription,
  dispatcher: Dispatcher,
  isAlone: boolean,
): string | undefined {
  const { id, spillQuota } = recipient;
  const { enabled } = dispatcher.latest(id) ?? recipient;
  const { state, storedBytes } = dispatcher.look(id) ?? { state: 'healthy', storedBytes: 0 };
  if (storedBytes > spillQuota * mostShare) {
    return `subscription ${id} has used up more than half of its quota`;
  }
  if (!isAlone) return undefined;
  if (!enabled) return `subscription ${id} is paused`;
  return state === 'healthy' ? undefined : `subscription ${id} is ${state}`;
}
