/** Hands one event to its subscriptions: at once, or as their expressions say. */
import { Delivery, type EventSummary } from '../delivery/delivery.js';
import type { Dispatcher } from '../delivery/dispatcher.js';
import { Bodies } from '../event/bodies.js';
import type { Commit } from '../event/commit.js';
import type { Change } from '../event/encode.js';
import { JsonWriter } from '../event/json-writer.js';
import type { SchemaVersions } from '../event/schema-versions.js';
import { sliceOf, type Slice } from '../event/slice.js';
import { webhookId } from '../event/webhook-id.js';
import type { Judge } from '../evaluation/judge.js';
import { Plans } from '../evaluation/plans.js';
import type { Target, Verdict } from '../evaluation/question.js';
import type { Lsn } from '../replication/lsn.js';
import type { Transaction } from '../replication/progress.js';
import type { Subscription } from '../subscriptions/subscription.js';
import { isFirstBeyondChange, type Recipients, type Table } from './tables.js';

/** What the events of a transaction have in common. */
export interface Occasion {
  readonly transaction: Transaction;
  readonly commitLsn: Lsn;
  readonly commit: Commit;
  readonly isLate: boolean;
  /** What the ids of its events begin with. */
  readonly id: { readonly prefix: string };
}

/** A change that somebody is told of. */
export interface Occurrence {
  readonly occasion: Occasion;
  /** Its count in the transaction. */
  readonly ordinal: number;
  readonly change: Change;
  readonly lsn: string;
  readonly keys: readonly number[];
  readonly table: Table;
  readonly tables: readonly number[];
  readonly isBarrier: boolean;
  readonly event: EventSummary;
  readonly views: Recipients['views'];
  /** What its id has before the subscription, where it is not made of its place in the log. */
  readonly id?: string;
}

export interface HandOutOptions {
  readonly dispatcher: Dispatcher;
  readonly judge: Judge;
  readonly versions: SchemaVersions;
  /** Fill in metadata for every subscription, not only for those that ask for it. */
  readonly injectMetadata: boolean;
}

/** What an event takes in memory beside its values while it is judged. */
const questionBytes = 1024;

export class HandOut {
  readonly #options: HandOutOptions;
  readonly #bodies = new Bodies(new JsonWriter());
  readonly #plans: Plans;

  constructor(options: HandOutOptions) {
    this.#options = options;
    this.#plans = new Plans((plan) => options.judge.expect(plan));
  }

  /** Returns at once; what the change holds is not needed any more then. */
  deliver(occurrence: Occurrence, subscriptions: readonly Subscription[]): void {
    const { dispatcher, judge } = this.#options;
    const { occasion, change, table } = occurrence;
    const { commit, transaction } = occasion;
    this.#bodies.forget();

    const split = this.#plans.split(table.relation, subscriptions);
    let targets: readonly Target[] = split.targets;
    for (const subscription of split.plain) {
      // What is still being judged comes first.
      if (judge.mayWait(subscription.id)) {
        targets = [...targets, { subscription, position: undefined }];
      } else {
        const body = this.#bodyFor(occurrence, subscription);
        dispatcher.deliver(subscription, deliveryTo(occurrence, subscription, body));
      }
    }
    for (const subscription of split.invalid) {
      const problem = { reason: subscription.invalidReason!, isInvalid: true };
      this.#refuse(occurrence, subscription, this.#bodyFor(occurrence, subscription), problem);
    }
    if (targets.length === 0) return;

    // What the change holds is gone afterwards.
    const captured = split.plan.capture(change);
    const bodies = new Map(
      targets.map(
        ({ subscription }) => [subscription, this.#bodyFor(occurrence, subscription)] as const,
      ),
    );
    const bytes = [...new Set(bodies.values())].reduce((sum, { length }) => sum + length, 0);
    transaction.hold();
    judge.ask({
      plan: split.plan,
      captured,
      action: change.action,
      timestamp: commit.timestamp,
      targets,
      bytes: captured.bytes + bytes + questionBytes,
      settle: ({ subscription }: Target, verdict: Verdict) => {
        const usual = bodies.get(subscription)!;
        if (verdict.kind === 'failed') this.#refuse(occurrence, subscription, usual, verdict);
        if (verdict.kind !== 'send') return;
        const { body } = verdict;
        dispatcher.deliver(
          subscription,
          body === undefined
            ? deliveryTo(occurrence, subscription, usual)
            : deliveryTo(occurrence, subscription, sliceOf(Buffer.from(body)), 'pgstream'),
        );
      },
      done: () => transaction.release(),
    });
  }

  /** The usual body; to be made before the next message is taken. */
  #bodyFor(occurrence: Occurrence, subscription: Subscription): Slice {
    const { occasion, ordinal, change, lsn, views } = occurrence;
    const { injectMetadata, versions } = this.#options;
    const view = views.get(subscription)!;
    const isInjected = injectMetadata || subscription.injectMetadata;
    const { encoders, ids } = view.prepare(versions);
    const encoder = encoders.of(subscription.format, isInjected ? ids : undefined);
    const ownId = encoder.tellsId
      ? (ownIdOf(occurrence, subscription) ??
        webhookId(occasion.id.prefix, ordinal, subscription.id))
      : '';
    return this.#bodies.of(encoder, view.show(change), occasion.commit, lsn, ownId);
  }

  /** It could not be told whether the event is to be sent. */
  #refuse(
    occurrence: Occurrence,
    subscription: Subscription,
    body: Slice,
    { reason, isInvalid }: { readonly reason: string; readonly isInvalid: boolean },
  ): void {
    const failure = { status: null, reason, at: new Date() };
    const delivery = deliveryTo(occurrence, subscription, body);
    this.#options.dispatcher.refuse(subscription, delivery, failure, isInvalid);
  }
}

const ownIdOf = ({ id }: Occurrence, subscription: Subscription) =>
  id === undefined ? undefined : `${id}_${subscription.id}`;

function deliveryTo(
  occurrence: Occurrence,
  subscription: Subscription,
  body: Slice,
  format = subscription.format,
): Delivery {
  const { occasion, ordinal, event, keys, table, tables, isBarrier, views } = occurrence;
  const { id, commitLsn, transaction, isLate } = occasion;
  transaction.hold();
  return new Delivery({
    id: ownIdOf(occurrence, subscription) ?? id,
    subscription: subscription.id,
    commitLsn,
    ordinal,
    event,
    format,
    columns: views.get(subscription)!.columns,
    body,
    bytes: body.length,
    transaction,
    stored: 'no',
    isLate,
    tables,
    keys,
    barrier: isBarrier || isFirstBeyondChange(table, subscription.id),
  });
}
