/**
 * The deliveries of one subscription: a window of them in memory, the rest (the tail) in
 * `pgstream.webhook_deliveries`.
 *
 * Invariants
 * - Order. Deliveries enter the window in the order of the log, and lanes keep that order per row.
 *   While there is a tail that has not been looked at, a new event goes behind it, to the table. What
 *   was looked at and stands behind a failed delivery is parked: it stays in the table, and so does
 *   whatever has to come after it. So no event overtakes an older one that it must not overtake.
 * - Loss. A transaction is released by a delivery only when the endpoint has accepted it, when its
 *   row is committed, or when the subscription's own settings let it go. A row is deleted only after
 *   the endpoint has accepted it.
 * - The log is never held up by the endpoint: what has been in memory for `holdMs` without being
 *   accepted is stored and released, and what goes beyond the share of memory is stored at once,
 *   unless the quota of the table forbids it.
 */
import type { Log } from '../log.js';
import type { Subscription } from '../subscriptions/subscription.js';
import { backoffMs } from './backoff.js';
import { batchOf, cutBatch, halves, type Batch } from './batch.js';
import { isBefore, type Delivery, type Failure, type LogPlace } from './delivery.js';
import type { Memory } from './memory.js';
import { Sender, type SenderContext } from './sender.js';
import type { DeliveryStore } from './store.js';
import { Window } from './window.js';

export interface EndpointContext extends SenderContext {
  readonly store: DeliveryStore;
  readonly memory: Memory;
  /** The subscription is to be disabled, for this reason. */
  readonly disable: (subscription: number, reason: string) => void;
  /** Work that has to succeed has failed for good. */
  readonly fail: (error: unknown) => void;
  /** A request has been answered. */
  readonly changed: () => void;
  readonly log: Log;
}

export interface EndpointStatus {
  readonly state: 'healthy' | 'retrying' | 'spilling' | 'paused' | 'invalid';
  readonly delivered: number;
  readonly dropped: number;
  readonly inMemory: number;
  readonly lastSuccessAt: Date | undefined;
  readonly lastFailure: Failure | undefined;
  readonly nextAttemptAt: Date | undefined;
}

/** What has waited in memory for so long is stored, so that the log need not wait for it. */
const holdMs = 3_000;
/** An endpoint whose oldest event is younger is waited for, where it would have to be stored else. */
const quickMs = 500;
/** What an event takes in memory beside its body: its place in the order, its headers, its request. */
const overheadBytes = 3 * 1024;
/** Rows of the tail are taken into the window so many at a time … */
const refillRows = 1_000;
/** … fewer while little may be sent … */
const probeRows = 16;
/** … and while it holds fewer than this. */
const mostInWindow = 5_000;
/** Bodies that are fetched from the table at once. */
const fetchRows = 256;
const fetchBytes = 1024 * 1024;
const retryBackoff = { firstMs: 1_000, mostMs: 3_600_000 };
/** Above this share of the quota the log says so. */
const quotaWarning = 0.8;
/** How often the table is looked at for what others have done to it, where that matters. */
const lookEveryMs = 2_000;

const ageOf = ({ since }: Delivery) => performance.now() - since;

const nowhere: LogPlace = { commitLsn: 0n, ordinal: 0 };

export class Endpoint {
  readonly #context: EndpointContext;
  readonly #sender: Sender;
  readonly #window = new Window();
  #subscription: Subscription;
  #isDeleted = false;
  #isStopped = false;

  /** Those of the window that a transaction waits for, oldest first. */
  readonly #unstored = new Set<Delivery>();
  #unstoredBytes = 0;
  /** Events that the quota keeps out of the table. */
  #held: Delivery[] = [];

  /** Whether there are, or may be, rows behind the window that have not been looked at. */
  #hasTail: boolean;
  /** The last delivery that was taken into the window or parked. */
  #cursor: LogPlace = nowhere;
  #storedBytes: number;
  #appended = 0;
  #committed = 0;
  #rescans = 0;
  #isUnparkWanted = false;
  #isRefilling = false;
  #isFetching = false;
  #isDropping = false;
  #warnedOfQuota = false;
  #lookedAt = 0;
  #batchTimer: NodeJS.Timeout | undefined;

  #delivered = 0;
  #dropped = 0;
  #lastSuccessAt: Date | undefined;
  #lastFailure: Failure | undefined;

  /** `storedBytes`: what waits in the table from an earlier run; undefined where nothing does. */
  constructor(
    subscription: Subscription,
    storedBytes: number | undefined,
    context: EndpointContext,
  ) {
    this.#subscription = subscription;
    this.#hasTail = storedBytes !== undefined;
    this.#storedBytes = storedBytes ?? 0;
    this.#context = context;
    this.#sender = new Sender(subscription, this.#supply, context);
  }

  get status(): EndpointStatus {
    const pauseMs = this.#sender.pauseMs;
    return {
      state: this.#state,
      delivered: this.#delivered,
      dropped: this.#dropped,
      inMemory: this.#unstored.size + this.#held.length,
      lastSuccessAt: this.#lastSuccessAt,
      lastFailure: this.#sender.problem ?? this.#lastFailure,
      nextAttemptAt: pauseMs === undefined ? undefined : new Date(Date.now() + pauseMs),
    };
  }

  get #state(): EndpointStatus['state'] {
    if (!this.#subscription.enabled) return 'paused';
    if (this.#sender.problem) return 'invalid';
    if (this.#hasTail || this.#window.parked > 0 || this.#window.size > this.#unstored.size) {
      return 'spilling';
    }
    return this.#sender.failing > 0 || this.#sender.pauseMs !== undefined ? 'retrying' : 'healthy';
  }

  get inFlight(): number {
    return this.#sender.inFlight;
  }

  /** Whether nothing of a deleted subscription is left. */
  get isGone(): boolean {
    return this.#isDeleted && this.#window.size === 0 && this.#sender.inFlight === 0;
  }

  /** Whether the log waits for this subscription, because the table may hold no more of it. */
  get isHolding(): boolean {
    return this.#held.length > 0;
  }

  /** Takes over an event; returns at once. */
  deliver(delivery: Delivery): void {
    delivery.ordering = this.#subscription.ordering;
    this.#reckon(delivery, delivery.bytes + overheadBytes);
    const fits = this.#hasRoom(delivery) || this.#isQuick;
    if (this.#hasTail || this.isHolding || !fits) {
      this.#hasTail = true;
      this.#append(delivery);
    } else if (this.#window.mustPark(delivery)) {
      this.#window.park(delivery);
      this.#append(delivery);
    } else {
      this.#hold(delivery);
      this.#sender.pump();
    }
  }

  /** Whether waiting a moment for the endpoint is better than storing what comes next. */
  get isWorthWaitingFor(): boolean {
    return !this.#hasTail && this.#unstoredBytes > this.#share && this.#isQuick;
  }

  /** Whether it has accepted so far what came, and not long ago. */
  get #isQuick(): boolean {
    const [oldest] = this.#unstored;
    const isUp = this.#sender.failing === 0 && this.#sender.pauseMs === undefined;
    return isUp && this.#subscription.enabled && !!oldest && ageOf(oldest) < quickMs;
  }

  get #share(): number {
    const { limit, isCrowded } = this.#context.memory;
    return isCrowded ? limit / 16 : limit / 2;
  }

  /** The subscription has changed: what waits goes where it points now, and at once. */
  reconfigure(subscription: Subscription): void {
    const before = this.#subscription;
    this.#subscription = subscription;
    this.#sender.configure(subscription);
    if (sameTarget(before, subscription)) return this.#advance();
    this.#sender.endPauses();
    this.#advance();
  }

  /** The subscription has been deleted: what is under way is not tried again, the rest let go. */
  delete(): void {
    this.#isDeleted = true;
    this.#hasTail = false;
    for (const batch of this.#sender.forget()) this.#letGo(batch.members);
    this.#letGo(this.#held);
    this.#held = [];
  }

  /** Somebody asked for deliveries again: nothing waits for its time. */
  replay(): void {
    this.#sender.endPauses();
    this.rescan();
  }

  /** The table may have changed: it is read anew. */
  rescan(): void {
    this.#rescans++;
    this.#window.unpark();
    this.#isUnparkWanted = false;
    this.#cursor = nowhere;
    this.#hasTail = true;
    this.#advance();
  }

  /** To be called every now and then: stores what has waited for too long, and tidies up. */
  tick(): void {
    const limit = performance.now() - holdMs;
    for (const delivery of this.#unstored) {
      if (delivery.since > limit && this.#subscription.enabled) break;
      if (this.#isDeleted && !delivery.inFlight) this.#letGo([delivery]);
      else if (delivery.stored === 'no') this.#append(delivery);
    }
    this.#leave(this.#window.evict());
    if (this.#window.size === 0 && this.#window.parked > 0) this.#isUnparkWanted = true;
    this.#collapse();
    if (this.#subscription.onQuota === 'drop_oldest') this.#inBackground(this.#dropOldest());
    this.#inBackground(this.#lookAtTable());
    this.#advance();
  }

  /** Begins nothing more; what is under way goes on. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#batchTimer);
    this.#sender.stop();
  }

  readonly #supply = {
    hasNext: () => this.#hasNext(),
    next: () => this.#next(),
    isAtHand: (batch: Batch) => {
      if (batch.members.every(({ body, done }) => body !== undefined && !done)) return true;
      this.#inBackground(this.#fetch());
      return false;
    },
    accepted: (batch: Batch) => {
      this.#delivered += batch.members.length;
      this.#lastSuccessAt = new Date();
      if (this.#sender.failing === 0 && this.#lastFailure && batch.members[0]!.attempts > 0) {
        this.#context.log.info(this.#description, 'the endpoint accepts events again');
      }
      this.#letGo(batch.members);
      this.#advance();
      this.#context.changed();
    },
    failed: (batch: Batch, failure: Failure) => {
      this.#failed(batch, failure);
      this.#advance();
      this.#context.changed();
    },
  };

  #hasNext(): boolean {
    const { ready } = this.#window;
    while (ready.peek()?.done) ready.shift();
    const first = ready.peek();
    if (!first) return false;
    if (first.body === undefined) {
      this.#inBackground(this.#fetch());
      return false;
    }
    const { batchSize, batchWaitMs } = this.#subscription;
    if (batchWaitMs === 0 || ready.length >= batchSize) return true;
    const wait = first.since + batchWaitMs - performance.now();
    if (wait <= 0) return true;
    this.#batchTimer ??= setTimeout(() => {
      this.#batchTimer = undefined;
      this.#sender.pump();
    }, wait);
    return false;
  }

  #next(): Batch {
    const { batchSize } = this.#subscription;
    return batchOf(cutBatch(this.#window.ready, batchSize), batchSize > 1);
  }

  #hasRoom({ bytes }: Delivery): boolean {
    if (!this.#subscription.enabled || this.#window.size >= mostInWindow) return false;
    return this.#window.size === 0 || this.#unstoredBytes + bytes <= this.#share;
  }

  /** Takes an event into the window, whose transaction waits for it. */
  #hold(delivery: Delivery): void {
    this.#unstored.add(delivery);
    this.#unstoredBytes += delivery.bytes + overheadBytes;
    this.#admit(delivery);
  }

  #admit(delivery: Delivery): void {
    if (isBefore(this.#cursor, delivery)) this.#cursor = delivery;
    this.#window.add(delivery);
  }

  /** Writes the delivery to the table, as far as its quota goes. */
  #append(delivery: Delivery): void {
    if (this.#isDeleted) return this.#letGo([delivery]);
    this.#warnOfQuota();
    const { onQuota, enabled } = this.#subscription;
    const isOver = !this.#fitsQuota(delivery);
    if (this.isHolding || (isOver && onQuota === 'hold')) {
      if (!this.#window.has(delivery)) this.#held.push(delivery);
    } else if (isOver && onQuota === 'disable') {
      if (enabled) this.#disable('the spill quota was reached');
      this.#dropped++;
      this.#letGo([delivery]);
    } else {
      this.#write(delivery);
      if (isOver) this.#inBackground(this.#dropOldest());
    }
  }

  #fitsQuota({ bytes }: Delivery): boolean {
    return this.#storedBytes + bytes <= this.#subscription.spillQuota;
  }

  #write(delivery: Delivery): void {
    this.#storedBytes += delivery.bytes;
    this.#appended++;
    this.#context.store.append(delivery, () => this.#stored(delivery));
  }

  #stored(delivery: Delivery): void {
    this.#committed++;
    this.#letPass(delivery);
    if (delivery.done) {
      this.#remove(delivery);
      return;
    }
    if (this.#isDeleted && !delivery.inFlight) return this.#letGo([delivery]);
    if (this.#window.has(delivery)) this.#context.memory.addRows(1);
    this.#freeBody(delivery);
    delivery.whenStored?.();
    this.#advance();
  }

  /** No transaction waits for the delivery any more. */
  #letPass(delivery: Delivery): void {
    if (this.#unstored.delete(delivery)) this.#unstoredBytes -= delivery.bytes + overheadBytes;
    delivery.transaction?.release();
    delivery.transaction = undefined;
  }

  /** The body of what is stored need not be in memory. */
  #freeBody(delivery: Delivery): void {
    if (delivery.inFlight || delivery.stored !== 'yes') return;
    delivery.body = undefined;
    this.#reckon(delivery, 0);
  }

  #reckon(delivery: Delivery, bytes: number): void {
    this.#context.memory.add(bytes - delivery.reckoned);
    delivery.reckoned = bytes;
  }

  /** While nothing is to be sent, what is stored need not be in memory. */
  #collapse(): void {
    const isPaused = !this.#subscription.enabled || this.#sender.pauseMs !== undefined;
    if (!isPaused || this.#isRefilling || this.#isFetching || this.#sender.inFlight > 0) return;
    if (this.#unstored.size > 0 || this.#window.size <= probeRows) return;
    this.#sender.forget();
    this.#leave(this.#window.clear());
    this.#cursor = nowhere;
    this.#hasTail = true;
  }

  /** What has left the window for the table alone. */
  #leave(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.#freeBody(delivery);
    this.#context.memory.addRows(-deliveries.length);
  }

  /** Does all that can be done now. */
  #advance(): void {
    if (this.#isUnparkWanted && (!this.#hasTail || this.#window.isParkingFull)) {
      this.#rescans++;
      this.#window.unpark();
      this.#isUnparkWanted = false;
      this.#cursor = nowhere;
      this.#hasTail = true;
    }
    this.#sender.pump();
    this.#admitHeld();
    if (this.#hasTail) this.#inBackground(this.#refill());
  }

  async #refill(): Promise<void> {
    const { store, memory } = this.#context;
    const pauseMs = this.#sender.pauseMs;
    const isWanted =
      !this.#isRefilling &&
      !this.#isStopped &&
      !this.#isDeleted &&
      !this.#window.isParkingFull &&
      this.#subscription.enabled &&
      !this.#sender.problem &&
      this.#window.size < mostInWindow &&
      this.#window.ready.length < refillRows;
    if (!isWanted || (pauseMs !== undefined && (pauseMs > 0 || this.#window.size > 0))) return;
    if (memory.isCrowded && this.#window.ready.length > 0) return;
    this.#isRefilling = true;
    const committed = this.#committed;
    const rescans = this.#rescans;
    const isPlain = pauseMs === undefined && !memory.isCrowded;
    const limit = isPlain ? refillRows : probeRows;
    const loaded = await store.load(this.#subscription.id, this.#cursor, limit, isPlain);
    this.#isRefilling = false;
    if (this.#isDeleted || this.#isStopped) return;
    if (this.#rescans > rescans) return this.#advance();
    if (loaded.isLast) this.#hasTail = this.#appended > committed;
    for (const delivery of loaded.deliveries) this.#takeIn(delivery);
    if (!loaded.end) return this.#sender.pump();
    if (isBefore(this.#cursor, loaded.end)) this.#cursor = loaded.end;
    this.#advance();
  }

  /** A row of the tail comes into the window, or stays behind what has failed. */
  #takeIn(delivery: Delivery): void {
    if (this.#window.hasId(delivery.id)) return;
    delivery.ordering = this.#subscription.ordering;
    if (this.#window.mustPark(delivery)) {
      this.#window.park(delivery);
    } else {
      if (delivery.body) this.#reckon(delivery, delivery.bytes + overheadBytes);
      this.#admit(delivery);
      this.#context.memory.addRows(1);
    }
  }

  /** Fetches the bodies of what is to be sent next. What somebody has taken out of the table is done. */
  async #fetch(): Promise<void> {
    if (this.#isFetching || this.#isStopped) return;
    this.#isFetching = true;
    const again = this.#sender.firstAgain;
    const most = this.#context.memory.isCrowded ? 1 : fetchRows;
    const wanted: Delivery[] = [];
    let bytes = 0;
    for (const delivery of again?.members ?? this.#window.ready.first(most)) {
      if (delivery.body !== undefined) continue;
      bytes += delivery.bytes;
      if (wanted.length > 0 && bytes > fetchBytes && !again) break;
      wanted.push(delivery);
    }
    await this.#context.store.fetchBodies(wanted);
    this.#isFetching = false;
    const gone = new Set(wanted.filter(({ body }) => body === undefined));
    for (const delivery of wanted) {
      if (!gone.has(delivery)) this.#reckon(delivery, delivery.bytes + overheadBytes);
    }
    if (gone.size > 0) this.#window.ready.remove(gone);
    const rest = again?.members.filter((member) => !gone.has(member) && !member.done) ?? [];
    if (again && again === this.#sender.firstAgain && rest.length < again.members.length) {
      this.#sender.replaceAgain(rest.length > 0 ? [batchOf(rest, again.isArray)] : []);
    }
    this.#forgetRows([...gone]);
    this.#advance();
  }

  /** Accepted, or no longer wanted. */
  #letGo(deliveries: readonly Delivery[]): void {
    const { memory } = this.#context;
    const leaving = deliveries.filter(({ done }) => !done);
    for (const delivery of leaving) delivery.done = true;
    for (const delivery of leaving) {
      if (this.#window.has(delivery)) {
        if (delivery.attempts > 0 && this.#window.parked > 0) this.#isUnparkWanted = true;
        this.#window.done(delivery);
        if (delivery.stored === 'yes') memory.addRows(-1);
      }
      this.#reckon(delivery, 0);
      this.#letPass(delivery);
      if (delivery.stored === 'yes') this.#remove(delivery);
    }
  }

  /** Others have taken these out of the table, or set them aside in it. */
  #forgetRows(deliveries: readonly Delivery[]): void {
    const inWindow = deliveries.filter((delivery) => this.#window.has(delivery));
    for (const delivery of inWindow) {
      this.#storedBytes -= delivery.bytes;
      delivery.stored = 'no';
    }
    this.#context.memory.addRows(-inWindow.length);
    this.#letGo(inWindow);
  }

  #remove(delivery: Delivery): void {
    this.#storedBytes -= delivery.bytes;
    this.#context.store.remove(delivery);
  }

  #failed(whole: Batch, failure: Failure): void {
    if (this.#isStopped) return;
    const members = whole.members.filter(({ done }) => !done);
    if (members.length === 0) return;
    const isWhole = members.length === whole.members.length;
    const batch = isWhole ? whole : batchOf(members, whole.isArray);
    if (!this.#lastFailure || this.#sender.failing === 0) {
      const { reason } = failure;
      const details = { ...this.#description, id: batch.id, reason };
      this.#context.log.warn(
        details,
        'the endpoint did not accept an event; it will be tried again',
      );
    }
    if (this.#isDeleted) return this.#letGo(batch.members);
    const isPaused = this.#sender.pauseMs !== undefined;
    for (const member of batch.members) {
      const before = member.lastFailure?.at.getTime();
      if (before !== undefined && !isPaused) member.activeMs += failure.at.getTime() - before;
      member.attempts++;
      member.lastFailure = failure;
      this.#window.failed(member);
      if (member.stored === 'yes') this.#context.store.noteAttempt(member);
      this.#freeBody(member);
    }
    this.#lastFailure = failure;
    if (failure.status === 410) this.#disable('the endpoint answered 410 Gone');
    const { retryForMs, onExhausted } = this.#subscription;
    // While the endpoint takes other requests, it is something in this one that it does not take.
    const isAlone = this.#sender.pauseMs === undefined && batch.members[0]!.attempts > 1;
    const isToBeSplit = batch.members.length > 1 && (isRefusal(failure) || isAlone);
    const isExhausted = (member: Delivery) =>
      onExhausted === 'dead_letter' && member.activeMs >= retryForMs && !isToBeSplit;
    const exhausted = batch.members.filter(isExhausted);
    if (exhausted.length === 0 && !isToBeSplit) {
      this.#retry(batch);
      return;
    }
    for (const member of batch.members) member.batched = false;
    for (const member of exhausted) this.#bury(member);
    // What came along behind another member comes again when that one is done.
    const rest = batch.members.filter((member) => !isExhausted(member) && member.waitsFor === 0);
    for (const half of halves(rest)) {
      const again = batchOf(half, batch.isArray);
      if (isToBeSplit) this.#sender.retryLater(again, 0);
      else this.#retry(again);
    }
  }

  #retry(batch: Batch): void {
    const { attempts } = batch.members[0]!;
    this.#sender.retryLater(batch, backoffMs(retryBackoff, attempts, Math.random()));
  }

  /** Tried for long enough: set aside in the table, and later changes of the row go on. */
  #bury(delivery: Delivery): void {
    const { store, log } = this.#context;
    log.error(
      { ...this.#description, id: delivery.id },
      'gave an event up; it is a dead letter now',
    );
    const bury = async () => {
      await store.bury(delivery);
      if (!this.#window.has(delivery)) return this.#advance();
      delivery.done = true;
      if (this.#window.has(delivery)) {
        this.#isUnparkWanted = this.#window.parked > 0;
        this.#window.done(delivery);
        this.#context.memory.addRows(-1);
      }
      this.#advance();
    };
    if (delivery.stored === 'yes') {
      this.#inBackground(bury());
    } else {
      delivery.whenStored = () => this.#inBackground(bury());
      if (delivery.stored === 'no') this.#append(delivery);
    }
  }

  #inBackground(work: Promise<void>): void {
    work.catch(this.#context.fail);
  }

  #disable(reason: string): void {
    this.#subscription = { ...this.#subscription, enabled: false };
    this.#sender.configure(this.#subscription);
    this.#context.disable(this.#subscription.id, reason);
    this.#context.log.error({ ...this.#description, reason }, 'disabled the subscription');
  }

  /** What the quota has kept out goes to the window or the table, as soon as there is room. */
  #admitHeld(): void {
    while (this.isHolding) {
      const delivery = this.#held[0]!;
      const isNext = !this.#hasTail && this.#hasRoom(delivery) && !this.#window.mustPark(delivery);
      const isWritten = this.#fitsQuota(delivery) || this.#subscription.onQuota !== 'hold';
      if (!isNext && !isWritten) return;
      this.#held.shift();
      if (isNext) {
        this.#hold(delivery);
        this.#sender.pump();
      } else {
        this.#hasTail = true;
        this.#write(delivery);
      }
    }
  }

  /** Sees what others have done to the table: what is skipped by a delete, and how full it is. */
  async #lookAtTable(): Promise<void> {
    const now = performance.now();
    const { spillQuota } = this.#subscription;
    const isHigh = this.isHolding || this.#storedBytes > spillQuota * quotaWarning;
    const failing = this.#sender.waiting.flatMap(({ members }) => members);
    if (now - this.#lookedAt < lookEveryMs || (!isHigh && failing.length === 0)) return;
    this.#lookedAt = now;
    const { store } = this.#context;
    if (isHigh) this.#storedBytes = await store.bytesOf(this.#subscription.id);
    const stored = failing.filter(({ stored }) => stored === 'yes').slice(0, refillRows);
    if (stored.length > 0 && (await store.areGone(stored))) this.#sender.sendAgainNow();
  }

  async #dropOldest(): Promise<void> {
    if (this.#isDropping) return;
    this.#isDropping = true;
    for (;;) {
      const { id, spillQuota } = this.#subscription;
      const excess = this.#storedBytes - spillQuota;
      const dropped = excess > 0 ? await this.#context.store.dropOldest(id, excess) : [];
      if (dropped.length === 0) break;
      this.#dropped += dropped.length;
      for (const { id: webhookId, bytes } of dropped) {
        const delivery = this.#window.get(webhookId);
        if (delivery?.stored === 'yes') this.#forgetRows([delivery]);
        else if (delivery) this.#letGo([delivery]);
        else this.#storedBytes -= bytes;
      }
    }
    this.#isDropping = false;
    this.#advance();
  }

  #warnOfQuota(): void {
    const { spillQuota, onQuota } = this.#subscription;
    const isHigh = this.#storedBytes > spillQuota * quotaWarning;
    if (isHigh && !this.#warnedOfQuota) {
      const details = { ...this.#description, bytes: this.#storedBytes, spillQuota, onQuota };
      this.#context.log.warn(details, 'what waits for the endpoint nears its quota');
    }
    this.#warnedOfQuota = isHigh;
  }

  get #description() {
    return { subscription: this.#subscription.id, url: this.#subscription.url };
  }
}

/** Whether what failed before may fail again for the same reason. */
const sameTarget = (a: Subscription, b: Subscription) =>
  a.url === b.url &&
  a.secret === b.secret &&
  a.enabled === b.enabled &&
  a.timeoutMs === b.timeoutMs &&
  JSON.stringify(a.headers) === JSON.stringify(b.headers);

/** Whether the endpoint is there and refuses what it was sent. */
const isRefusal = ({ status }: Failure) =>
  status !== null && status >= 400 && status < 500 && ![408, 410, 425, 429].includes(status);
