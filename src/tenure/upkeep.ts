/** What a tenure looks at and writes from time to time. */
import type { Dispatcher } from '../delivery/dispatcher.js';
import type { PgstreamError } from '../errors.js';
import type { SlotFollower } from '../replication/follow.js';
import { withoutValues } from '../settings/server-error.js';
import { oneAtATime } from '../source/one-at-a-time.js';
import type { StatusWriter } from '../source/status.js';
import { latestSubscriptions } from '../source/subscriptions.js';
import type { Around } from './around.js';
import { followReplays, replayMs } from './replays.js';

export interface Upkept {
  readonly dispatcher: Dispatcher;
  readonly follower: SlotFollower;
  readonly status: StatusWriter;
  /** Asks what the owners of subscriptions may read. */
  readonly readRights: () => void;
  /** The slot is not to be read until somebody has mended it. */
  readonly halt: (trouble: PgstreamError) => void;
}

/** How often subscriptions are looked up while the log, which else tells of them, is not read. */
const refreshMs = 2_000;
/** How often it is asked what the owners of subscriptions may read. */
const rightsMs = 2_000;
/** How often the state of subscriptions is written. */
const statusMs = 1_000;
/** How often the slot is looked at. */
export const troubleMs = 2_000;

/** What is done every now and then, or when somebody asks for it, until the tenure has ended. */
export function keepUp(
  { sql, log, lease, ended, keepTrying, fail }: Around,
  { dispatcher, follower, status, readRights, halt }: Upkept,
): void {
  const every = (ms: number, work: () => void) => {
    const timer = setInterval(work, ms);
    ended.addEventListener('abort', () => clearInterval(timer));
  };
  const refresh = oneAtATime(async () => {
    const latest = await keepTrying(() => latestSubscriptions(sql));
    for (const { id, change, definition } of latest) {
      dispatcher.reconfigure(id, change, definition);
    }
  }, fail);
  refresh();
  every(refreshMs, () => {
    if (dispatcher.isFull || dispatcher.isHolding) refresh();
  });

  every(rightsMs, readRights);

  // What cannot be written now is written a second later.
  const writeStatus = oneAtATime(
    () => status.write(dispatcher.status()),
    () => undefined,
  );
  every(statusMs, writeStatus);

  // A question that fails says nothing of the slot.
  const look = oneAtATime(async () => {
    const trouble = await lease.findTrouble(() => follower.received).catch(() => undefined);
    if (trouble) halt(trouble);
  }, fail);
  every(troubleMs, look);

  const replay = followReplays(sql, dispatcher);
  let wasAway = true;
  let told: string | undefined;
  const lookForReplays = oneAtATime(async () => {
    try {
      await replay();
      // What waits may have been changed by hand meanwhile.
      if (wasAway) dispatcher.rescan();
      wasAway = false;
      told = undefined;
    } catch (error) {
      wasAway = true; // looked for again a second later
      const { message: reason } = withoutValues(error) as Error;
      if (reason !== told && !ended.aborted) log.warn({ reason }, 'cannot look for replays');
      told = reason;
    }
  }, fail);
  lookForReplays();
  every(replayMs, lookForReplays);
}
