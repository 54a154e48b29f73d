/**
 * The deliveries of one subscription: a window of them in memory, the rest in the table.
 *
 * Invariant: the log is never held up by the endpoint. What has been in memory for `holdMs` without
 * being accepted is stored and released, and what goes beyond the share of memory is stored at once,
 * unless the quota of the table forbids it, or `Patience` has the log wait for a moment.
 *
 * What else has to hold is kept by the parts: no loss by `Custody`, order by `Window` and `Backlog`,
 * the limit of the table by `Quota`; `Attempts` sends.
 */
import type { Subscription } from '../subscriptions/subscription.js';
import { Attempts, type AttemptsContext } from './attempts.js';
import { Backlog } from './backlog.js';
import { Custody, type CustodyContext } from './custody.js';
import type { Delivery, Failure } from './delivery.js';
import { Patience, type PatienceContext } from './patience.js';
import { Quota } from './quota.js';

export interface EndpointContext extends AttemptsContext, CustodyContext, PatienceContext {
  /** The subscription is to be disabled, for this reason. */
  readonly disable: (subscription: number, reason: string) => void;
}

export interface EndpointStatus {
  readonly state: 'healthy' | 'retrying' | 'spilling' | 'paused' | 'denied' | 'invalid';
  readonly delivered: number;
  readonly dropped: number;
  /** Events for which its expressions failed. */
  readonly evaluationErrors: number;
  readonly inMemory: number;
  readonly lastSuccessAt: Date | undefined;
  readonly lastFailure: Failure | undefined;
  readonly nextAttemptAt: Date | undefined;
}

/** What has waited in memory for so long is stored, so that the log need not wait for it. */
const holdMs = 3_000;
/** The same for what is late, so that also a runner that is killed again and again gets on. */
const lateHoldMs = 1_000;
/** How often the table is looked at for what others have done to it, where that matters … */
const lookEveryMs = 2_000;
/** … and for how many of those that are to be sent again. */
const lookRows = 1_000;

export class Endpoint {
  readonly #context: EndpointContext;
  readonly #custody: Custody;
  readonly #backlog: Backlog;
  readonly #quota: Quota;
  readonly #attempts: Attempts;
  readonly #patience: Patience;
  /** As its owner wrote it. */
  #definition: Subscription;
  /** Why nothing of it may be sent. */
  #refusal: Failure | undefined;
  /** The table of the last event. */
  #table: number | undefined;
  #lookedAt = 0;
  #isAdvanceDue = false;
  #evaluationErrors = 0;
  #evaluationFailure: Failure | undefined;
  /** Its expressions are not evaluated any more. */
  #isInvalid = false;

  /** `storedBytes`: what waits in the table from an earlier run; undefined where nothing does. */
  constructor(
    subscription: Subscription,
    storedBytes: number | undefined,
    context: EndpointContext,
  ) {
    const hooks = {
      append: (delivery: Delivery) => this.#append(delivery),
      disable: (reason: string) => this.#disable(reason),
      hold: (reason: string, { tables }: Delivery) => {
        this.#table = tables[0];
        this.#refuse(reason);
      },
      advance: () => this.#advance(),
    };
    this.#definition = subscription;
    this.#context = context;
    this.#custody = new Custody(subscription, storedBytes ?? 0, context, () => {
      this.#quota.enforce();
      this.#advanceSoon();
    });
    this.#backlog = new Backlog(storedBytes !== undefined, this.#custody, context);
    this.#quota = new Quota(this.#custody, this.#backlog, context, hooks);
    this.#attempts = new Attempts(this.#custody, this.#backlog, context, hooks);
    this.#patience = new Patience(this.#custody, this.#backlog, this.#sender, context);
  }

  get status(): EndpointStatus {
    const { delivered, lastSuccessAt, lastFailure } = this.#attempts;
    const { pauseMs } = this.#sender;
    return {
      state: this.#state,
      delivered,
      dropped: this.#quota.dropped,
      evaluationErrors: this.#evaluationErrors,
      inMemory: this.#custody.unstoredCount + this.#quota.held,
      lastSuccessAt,
      lastFailure: this.#refusal ?? laterOf(lastFailure, this.#evaluationFailure),
      nextAttemptAt: pauseMs === undefined ? undefined : new Date(Date.now() + pauseMs),
    };
  }

  get inFlight(): number {
    return this.#sender.inFlight;
  }

  /** Bytes that wait in the table. */
  get storedBytes(): number {
    return this.#custody.storedBytes;
  }

  /** Whether nothing of a deleted subscription is left. */
  get isGone(): boolean {
    return this.#custody.isDeleted && this.#window.size === 0 && this.inFlight === 0;
  }

  /** Whether the log waits for this subscription, because the table may hold no more of it. */
  get isHolding(): boolean {
    return this.#quota.isHolding;
  }

  /** See `Patience`. */
  isWorthWaitingFor(since: 'now' | 'before'): boolean {
    return this.#patience.isWorthIt(since);
  }

  /** Takes over an event; returns at once. */
  deliver(delivery: Delivery): void {
    this.#isInvalid = false;
    delivery.ordering = this.#subscription.ordering;
    this.#table = delivery.tables[0];
    this.#custody.reckon(delivery);
    const mayStay = this.#patience.hasRoom(delivery) || this.#patience.isQuick;
    if (this.#backlog.hasTail || this.isHolding || !mayStay) {
      this.#backlog.lengthen();
      this.#append(delivery);
    } else if (this.#window.mustPark(delivery)) {
      this.#window.park(delivery);
      this.#append(delivery);
    } else {
      this.#hold(delivery);
      this.#advanceSoon();
    }
  }

  /** Takes over an event as a dead letter, which nothing waits for. */
  refuse(delivery: Delivery, failure: Failure, isInvalid: boolean): void {
    this.#isInvalid = isInvalid;
    this.#evaluationErrors++;
    this.#evaluationFailure = failure;
    delivery.isDead = true;
    delivery.lastFailure = failure;
    this.#custody.reckon(delivery);
    this.#append(delivery);
  }

  /** The subscription has changed: what waits goes where it points now, and at once. */
  reconfigure(subscription: Subscription): void {
    const before = this.#subscription;
    if (subscription.owner !== before.owner) this.#refusal = undefined;
    this.#isInvalid = false;
    this.#configure(subscription);
    if (!hasSameTarget(before, subscription)) this.#sender.endPauses();
    this.#advance();
  }

  /** What the subscription stands for has been read: its secret. */
  configureAnew(): void {
    this.#configure(this.#definition);
    this.#advance();
  }

  /** What its owner may read may have changed. */
  reconsider(): void {
    const verdict = this.#context.rights.judge(this.#definition, this.#table, undefined);
    if (verdict.is === 'held') this.#refuse(verdict.reason);
    else if (this.#refusal && verdict.is !== 'unknown') {
      this.#refusal = undefined;
      this.reconfigure(this.#definition);
    }
  }

  /** The subscription has been deleted: what is under way is not tried again, the rest let go. */
  delete(): void {
    this.#custody.isDeleted = true;
    this.#backlog.drop();
    for (const batch of this.#sender.forget()) this.#custody.letGo(batch.members);
    this.#quota.letGo();
    this.#custody.letGo(this.#window.stored());
  }

  /** Somebody asked for deliveries again: nothing waits for its time. */
  replay(): void {
    this.#sender.endPauses();
    this.rescan();
  }

  /** The table may have changed: it is read anew. */
  rescan(): void {
    this.#backlog.restart();
    this.#advance();
  }

  /** To be called every now and then: stores what has waited for too long, and tidies up. */
  tick(): void {
    this.#storeOverdue();
    this.#custody.leave(this.#window.evict());
    this.#collapse();
    if (this.#subscription.onQuota === 'drop_oldest') this.#quota.dropOldest();
    this.#inBackground(this.#lookAtTable());
    this.#advance();
  }

  /** Begins nothing more; what is under way goes on. */
  stop(): void {
    this.#backlog.stop();
    this.#attempts.stop();
  }

  get #subscription(): Subscription {
    return this.#custody.subscription;
  }

  get #window() {
    return this.#custody.window;
  }

  get #sender() {
    return this.#attempts.sender;
  }

  get #state(): EndpointStatus['state'] {
    if (!this.#definition.enabled) return 'paused';
    if (this.#refusal) return 'denied';
    if (this.#sender.problem || this.#isInvalid) return 'invalid';
    const hasRows = this.#window.size > this.#custody.unstoredCount;
    if (this.#backlog.hasTail || this.#window.parked > 0 || hasRows) return 'spilling';
    return this.#sender.isUp ? 'healthy' : 'retrying';
  }

  /** Once for all that happens at once: what arrives together is sent together. */
  #advanceSoon(): void {
    if (this.#isAdvanceDue) return;
    this.#isAdvanceDue = true;
    queueMicrotask(() => {
      this.#isAdvanceDue = false;
      this.#advance();
    });
  }

  /** Takes an event into the window, whose transaction waits for it. */
  #hold(delivery: Delivery): void {
    this.#custody.hold(delivery);
    this.#backlog.pass(delivery);
  }

  /** Takes an event that the quota held into the window, if it is next and there is room. */
  #enter(delivery: Delivery): boolean {
    if (delivery.isDead || this.#backlog.hasTail || !this.#patience.hasRoom(delivery)) return false;
    if (this.#window.mustPark(delivery)) return false;
    this.#hold(delivery);
    return true;
  }

  #append(delivery: Delivery): void {
    if (this.#custody.isDeleted) this.#custody.letGo([delivery]);
    else this.#quota.append(delivery);
  }

  #storeOverdue(): void {
    const now = performance.now();
    const overdue: Delivery[] = [];
    for (const delivery of this.#custody.unstored()) {
      const isOverdue = now - delivery.since > (delivery.isLate ? lateHoldMs : holdMs);
      if (!isOverdue && this.#subscription.enabled) break;
      overdue.push(delivery);
    }
    for (const delivery of overdue) {
      if (this.#custody.isDeleted && !delivery.inFlight) this.#custody.letGo([delivery]);
      else if (delivery.stored === 'no') this.#append(delivery);
    }
  }

  /** While nothing is to be sent, what is stored need not be in memory. */
  #collapse(): void {
    const isPaused = !this.#subscription.enabled || this.#sender.pauseMs !== undefined;
    if (!isPaused || this.inFlight > 0 || !this.#backlog.isCollapsible) return;
    this.#sender.forget();
    this.#backlog.collapse();
  }

  /** Does all that can be done now. */
  #advance(): void {
    this.#backlog.unpark();
    this.#quota.admit((delivery) => this.#enter(delivery));
    this.#sender.pump();
    this.#refill();
  }

  #refill(): void {
    if (!this.#backlog.isWanted) return;
    const { pauseMs, problem } = this.#sender;
    const isSending = this.#subscription.enabled && !problem && !this.#custody.isDeleted;
    // While the endpoint is left alone nothing is wanted but what to try it with afterwards.
    const isResting = pauseMs !== undefined && (pauseMs > 0 || this.#window.size > 0);
    if (!isSending || isResting) return;
    const isProbe = pauseMs !== undefined;
    this.#inBackground(
      this.#backlog.refill(isProbe).then((isMore) => {
        if (isMore) this.#advance();
        else this.#sender.pump();
      }),
    );
  }

  /** Sees what others have done to the table: what is skipped by a delete, and how full it is. */
  async #lookAtTable(): Promise<void> {
    const now = performance.now();
    const isHigh = this.isHolding || this.#quota.isHigh;
    const failing = this.#sender.waiting.flatMap(({ members }) => members);
    if (now - this.#lookedAt < lookEveryMs || (!isHigh && failing.length === 0)) return;
    this.#lookedAt = now;
    if (isHigh) await this.#quota.recount();
    const stored = failing.filter(({ stored }) => stored === 'yes').slice(0, lookRows);
    if (stored.length > 0 && (await this.#context.store.areGone(stored))) {
      this.#sender.sendAgainNow();
    }
  }

  #configure(definition: Subscription): void {
    this.#definition = definition;
    const isEnabled = definition.enabled && !this.#refusal;
    const subscription = isEnabled ? definition : { ...definition, enabled: false };
    this.#custody.subscription = subscription;
    this.#sender.configure(subscription);
  }

  /** Nothing is sent, as in a pause, for as long as its owner may read nothing of its table. */
  #refuse(reason: string): void {
    if (this.#refusal?.reason === reason) return;
    this.#refusal = { status: null, reason, at: new Date() };
    this.#configure(this.#definition);
    const details = { ...this.#custody.description, reason };
    this.#context.log.warn(details, 'the subscription is denied; its events are kept');
  }

  #disable(reason: string): void {
    this.#configure({ ...this.#definition, enabled: false });
    this.#context.disable(this.#subscription.id, reason);
    const details = { ...this.#custody.description, reason };
    this.#context.log.error(details, 'disabled the subscription');
  }

  #inBackground(work: Promise<void>): void {
    work.catch(this.#context.fail);
  }
}

const laterOf = (a: Failure | undefined, b: Failure | undefined) =>
  a && b ? (a.at > b.at ? a : b) : (a ?? b);

/** Whether what failed before may fail again for the same reason. */
const hasSameTarget = (a: Subscription, b: Subscription) =>
  a.url === b.url &&
  a.secret === b.secret &&
  a.enabled === b.enabled &&
  a.timeoutMs === b.timeoutMs &&
  JSON.stringify(a.headers) === JSON.stringify(b.headers);
