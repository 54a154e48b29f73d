import type { Lsn } from '../replication/lsn.js';

/** Where a transaction stands in the log. */
export interface CommitPlace {
  /** `system_identifier` of the cluster. */
  readonly system: bigint;
  /** The timeline that the commit record is of: after a recovery to a point in time, another one. */
  readonly timeline: number;
  /** Where the commit record of the transaction begins. */
  readonly commitLsn: Lsn;
}

/**
 * The id of an event for a subscription: made of nothing but its place in the log, so that it is the
 * same in every delivery, and never that of another event. `ordinal` counts the changes of the
 * transaction that the plugin sends, from 1; the position of the change itself would not do, since
 * rows of one COPY share it.
 */
export const webhookId = (prefix: string, ordinal: number, subscription: number) =>
  `${prefix}${ordinal}_${subscription}`;

/** What the ids of all events of a transaction begin with. */
export const transactionIdPrefix = ({ system, timeline, commitLsn }: CommitPlace) =>
  `${eventIdPrefix(system)}${timeline.toString(36)}_${commitLsn.toString(16)}_`;

/** What the ids of all events of a cluster begin with. */
export const eventIdPrefix = (system: bigint) => `evt_${system.toString(36)}_`;
