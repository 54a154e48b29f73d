import type { Lsn } from '../replication/lsn.js';

/** Where an event stands in the log. */
export interface EventPlace {
  /** `system_identifier` of the cluster. */
  readonly system: bigint;
  /** The timeline that the commit record is of: after a recovery to a point in time, another one. */
  readonly timeline: number;
  /** Where the commit record of the transaction begins. */
  readonly commitLsn: Lsn;
  /** Counts the changes of the transaction that the plugin sends, from 1. */
  readonly ordinal: number;
}

/**
 * The id of an event for a subscription: made of nothing but its place in the log, so that it is the
 * same in every delivery, and never that of another event. The position of the change itself would
 * not do: rows of one COPY share it.
 */
export const webhookId = (
  { system, timeline, commitLsn, ordinal }: EventPlace,
  subscription: number,
) =>
  `${eventIdPrefix(system)}${timeline.toString(36)}_${commitLsn.toString(16)}_${ordinal}_${subscription}`;

/** What the ids of all events of a cluster begin with. */
export const eventIdPrefix = (system: bigint) => `evt_${system.toString(36)}_`;
