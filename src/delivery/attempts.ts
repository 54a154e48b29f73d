/**
 * The attempts to deliver what is ready in the window of one subscription, and what follows from them.
 *
 * Invariant: whatever is taken from the window to be sent is let go once the endpoint has accepted it,
 * or comes again until it has been tried for as long as the subscription says.
 */
import type { Log } from '../log.js';
import type { Rights, Verdict } from '../subscriptions/rights.js';
import { backoffMs } from './backoff.js';
import type { Backlog } from './backlog.js';
import { batchOf, cutBatch, isAlone, type Batch } from './batch.js';
import type { Custody } from './custody.js';
import type { Delivery, Failure } from './delivery.js';
import { outcomeOf } from './outcome.js';
import { Sender, type SenderContext } from './sender.js';
import type { Aside } from './statements.js';
import type { DeliveryStore } from './store.js';

export interface AttemptsContext extends SenderContext {
  /** What the owners of subscriptions may read. */
  readonly rights: Rights;
  readonly store: DeliveryStore;
  /** Work that has to succeed has failed for good. */
  readonly fail: (error: unknown) => void;
  /** A delivery was set aside because it may not be sent at present. */
  readonly setAside: () => void;
  /** A request has been answered. */
  readonly changed: () => void;
  readonly log: Log;
}

/** What an attempt asks of the endpoint. */
interface Hooks {
  /** The delivery is to be written to the table. */
  readonly append: (delivery: Delivery) => void;
  readonly disable: (reason: string) => void;
  /** Nothing may be sent, for this reason; it was found with this delivery. */
  readonly hold: (reason: string, delivery: Delivery) => void;
  /** There may be more to do now. */
  readonly advance: () => void;
}

const retryBackoff = { firstMs: 1_000, mostMs: 3_600_000 };

export class Attempts {
  readonly sender: Sender;
  readonly #custody: Custody;
  readonly #backlog: Backlog;
  readonly #context: AttemptsContext;
  readonly #hooks: Hooks;
  #isStopped = false;
  #batchTimer: NodeJS.Timeout | undefined;
  #delivered = 0;
  /** In milliseconds since the epoch. */
  #lastSuccessAt: number | undefined;
  #lastFailure: Failure | undefined;

  constructor(custody: Custody, backlog: Backlog, context: AttemptsContext, hooks: Hooks) {
    this.#custody = custody;
    this.#backlog = backlog;
    this.#context = context;
    this.#hooks = hooks;
    this.sender = new Sender(custody.subscription, this.#supply, context);
  }

  /** How many events have been accepted. */
  get delivered(): number {
    return this.#delivered;
  }

  get lastSuccessAt(): Date | undefined {
    return this.#lastSuccessAt === undefined ? undefined : new Date(this.#lastSuccessAt);
  }

  get lastFailure(): Failure | undefined {
    return this.sender.problem ?? this.#lastFailure;
  }

  /** Begins nothing more; what is under way goes on. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#batchTimer);
    this.sender.stop();
  }

  readonly #supply = {
    hasNext: () => this.#hasNext(),
    next: () => {
      const { batchSize } = this.#custody.subscription;
      const { ready } = this.#custody.window;
      const mayBeSent = (delivery: Delivery) => this.#verdictOn(delivery).is === 'free';
      const members = cutBatch(ready, batchSize, mayBeSent);
      return batchOf(members, batchSize > 1 && !isAlone(members[0]));
    },
    isAtHand: (batch: Batch) => {
      if (!this.#mayAllBeSent(batch)) return false;
      if (batch.members.every(({ body, done }) => body !== undefined && !done)) return true;
      this.#inBackground(this.#fetch(batch));
      return false;
    },
    accepted: (batch: Batch) => {
      this.#accepted(batch);
      this.#hooks.advance();
      this.#context.changed();
    },
    failed: (batch: Batch, failure: Failure) => {
      this.#failed(batch, failure);
      this.#hooks.advance();
      this.#context.changed();
    },
  };

  #hasNext(): boolean {
    const { ready } = this.#custody.window;
    let first = ready.peek();
    while (first && (first.done || !this.#isFree(first))) {
      if (!first.done && this.#verdictOn(first).is !== 'denied') return false;
      ready.shift();
      if (!first.done) this.#setAside(first, 'denied');
      first = ready.peek();
    }
    if (!first) return false;
    if (first.body === undefined) {
      this.#inBackground(this.#fetch());
      return false;
    }
    const { batchSize, batchWaitMs } = this.#custody.subscription;
    if (batchWaitMs === 0 || ready.length >= batchSize) return true;
    const wait = first.since + batchWaitMs - performance.now();
    if (wait <= 0) return true;
    this.#batchTimer ??= setTimeout(() => {
      this.#batchTimer = undefined;
      this.sender.pump();
    }, wait);
    return false;
  }

  #verdictOn({ tables, columns }: Delivery): Verdict {
    return this.#context.rights.judge(this.#custody.subscription, tables[0], columns);
  }

  #isFree(delivery: Delivery): boolean {
    const verdict = this.#verdictOn(delivery);
    if (verdict.is === 'held') this.#hooks.hold(verdict.reason, delivery);
    return verdict.is === 'free';
  }

  /** Whether a batch may be sent again; what may not is taken out of it. */
  #mayAllBeSent(batch: Batch): boolean {
    const members = batch.members.filter(({ done }) => !done);
    const refused = members.filter((member) => !this.#isFree(member));
    if (refused.length === 0) return true;
    if (refused.some((member) => this.#verdictOn(member).is !== 'denied')) return false;
    const rest = members.filter((member) => !refused.includes(member));
    this.sender.replaceAgain(rest.length > 0 ? [batchOf(rest, batch.isArray)] : []);
    for (const member of refused) this.#setAside(member, 'denied');
    queueMicrotask(() => this.#hooks.advance());
    return false;
  }

  /** Fetches what a batch to be sent again lacks, and takes out of it what is done. */
  async #fetch(batch?: Batch): Promise<void> {
    if (!(await this.#backlog.fetch(batch))) return;
    const rest = batch?.members.filter(({ done }) => !done) ?? [];
    if (batch && batch === this.sender.firstAgain && rest.length < batch.members.length) {
      this.sender.replaceAgain(rest.length > 0 ? [batchOf(rest, batch.isArray)] : []);
    }
    this.#hooks.advance();
  }

  #accepted({ members }: Batch): void {
    this.#delivered += members.length;
    this.#lastSuccessAt = Date.now();
    if (this.sender.failing === 0 && this.#lastFailure && members[0]!.attempts > 0) {
      this.#context.log.info(this.#custody.description, 'the endpoint accepts events again');
    }
    this.#custody.letGo(members);
  }

  #failed(whole: Batch, failure: Failure): void {
    if (this.#isStopped) return;
    const members = whole.members.filter(({ done }) => !done);
    if (members.length === 0) return;
    const isWhole = members.length === whole.members.length;
    const batch = isWhole ? whole : batchOf(members, whole.isArray);
    if (!this.#lastFailure || this.sender.failing === 0) {
      this.#context.log.warn(
        { ...this.#custody.description, id: batch.id, reason: failure.reason },
        'the endpoint did not accept an event; it will be tried again',
      );
    }
    if (this.#custody.isDeleted) return this.#custody.letGo(members);
    const isPaused = this.sender.pauseMs !== undefined;
    for (const member of members) this.#note(member, failure, isPaused);
    this.#lastFailure = failure;
    if (failure.status === 410) this.#hooks.disable('the endpoint answered 410 Gone');
    const outcome = outcomeOf(batch, failure, isPaused, this.#custody.subscription);
    for (const member of outcome.exhausted) this.#setAside(member, 'dead');
    for (const again of outcome.again) {
      const { attempts } = again.members[0]!;
      const pause = outcome.isSplit ? 0 : backoffMs(retryBackoff, attempts, Math.random());
      this.sender.retryLater(again, pause);
    }
  }

  /** Notes the failure; the time that the endpoint as a whole is left alone does not count. */
  #note(delivery: Delivery, failure: Failure, isPaused: boolean): void {
    const before = delivery.lastFailure?.at.getTime();
    if (before !== undefined && !isPaused) delivery.activeMs += failure.at.getTime() - before;
    delivery.attempts++;
    delivery.lastFailure = failure;
    this.#custody.window.failed(delivery);
    if (delivery.stored === 'yes') this.#context.store.noteAttempt(delivery);
    this.#custody.freeBody(delivery);
  }

  /** Set aside in the table, and later changes of the row go on. */
  #setAside(delivery: Delivery, as: Aside): void {
    const details = { ...this.#custody.description, id: delivery.id };
    if (as === 'dead') {
      this.#context.log.error(details, 'gave an event up; it is a dead letter now');
    } else {
      this.#context.log.debug(details, 'an event shows what may not be read any more');
    }
    const setAside = () =>
      this.#inBackground(
        this.#custody.setAside(delivery, as).then(() => {
          if (as === 'denied') this.#context.setAside();
          this.#hooks.advance();
        }),
      );
    if (delivery.stored === 'yes') return setAside();
    delivery.whenStored = setAside;
    if (delivery.stored === 'no') this.#hooks.append(delivery);
  }

  #inBackground(work: Promise<void>): void {
    work.catch(this.#context.fail);
  }
}
