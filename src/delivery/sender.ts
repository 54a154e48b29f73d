/**
 * Sends the batches of one subscription: so many at a time and so fast as it allows, not at all
 * while its breaker is open, and again after a pause.
 */
import type { Log } from '../log.js';
import type { Subscription } from '../subscriptions/subscription.js';
import { bodyOf, type Batch } from './batch.js';
import { Breaker } from './breaker.js';
import type { Failure } from './delivery.js';
import { RequestHeaders } from './headers.js';
import type { Answer, Transport } from './http.js';
import type { Permits } from './permits.js';
import { Queue } from './queue.js';
import { RateLimit } from './rate-limit.js';
import { retryAfterMs } from './retry-after.js';
import { createSigner, type Signer } from './signature.js';

export interface SenderContext {
  readonly transport: Transport;
  readonly permits: Permits;
  readonly defaultMaxInFlight: number;
  readonly defaultTimeoutMs: number;
  /** `source` of CloudEvents. */
  readonly eventSource: string;
  /** The secrets to sign with, null for none; undefined while they are being read. */
  readonly secretOf: (subscription: Subscription) => string | null | undefined;
  /** Whether this process may send at this moment. */
  readonly maySend: () => boolean;
  readonly log: Log;
}

/** Where batches come from, and who is told what became of them. */
export interface Supply {
  /** Whether `next` would give something now; if not, the sender is pumped again later. */
  readonly hasNext: () => boolean;
  readonly next: () => Batch;
  /** Whether all that the batch is made of is in memory; if not, the sender is pumped again later. */
  readonly isAtHand: (batch: Batch) => boolean;
  readonly accepted: (batch: Batch) => void;
  readonly failed: (batch: Batch, failure: Failure) => void;
}

export class Sender {
  readonly #context: SenderContext;
  readonly #supply: Supply;
  readonly #breaker = new Breaker();
  readonly #rateLimit = new RateLimit();
  #subscription: Subscription;
  #headers!: RequestHeaders;
  #signer: Signer | undefined;
  #problem: Failure | undefined;
  /** Its secret is being read. */
  #isWaiting = false;
  #inFlight = 0;
  #isStopped = false;
  /** What is to be sent again now, and later. */
  #again = new Queue<Batch>();
  #later = new Map<Batch, NodeJS.Timeout>();
  #timer: NodeJS.Timeout | undefined;

  readonly #pump = () => this.pump();

  constructor(subscription: Subscription, supply: Supply, context: SenderContext) {
    this.#subscription = subscription;
    this.#supply = supply;
    this.#context = context;
    this.configure(subscription);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Why nothing can be sent whatever the endpoint answers. */
  get problem(): Failure | undefined {
    return this.#problem;
  }

  /** How many batches have failed and are to be sent again. */
  get failing(): number {
    return this.#again.length + this.#later.size;
  }

  /** Whether the endpoint has accepted all that it was sent. */
  get isUp(): boolean {
    return this.failing === 0 && this.pauseMs === undefined;
  }

  /** For how many milliseconds the endpoint as a whole is still left alone; undefined if it is not. */
  get pauseMs(): number | undefined {
    const { openUntil } = this.#breaker;
    return openUntil === undefined ? undefined : Math.max(0, openUntil - performance.now());
  }

  /** The batches that are to be sent again. */
  get waiting(): Batch[] {
    return [...this.#later.keys(), ...this.#again.first(this.#again.length)];
  }

  /** The batch that is to be sent again first. */
  get firstAgain(): Batch | undefined {
    return this.#again.peek();
  }

  configure(subscription: Subscription): void {
    this.#subscription = subscription;
    this.#headers = new RequestHeaders(subscription.headers, this.#context.eventSource);
    this.#signer = undefined;
    this.#problem = undefined;
    this.#isWaiting = false;
    try {
      const secret = this.#context.secretOf(subscription);
      this.#isWaiting = secret === undefined;
      if (secret) this.#signer = createSigner(secret);
    } catch (error) {
      this.#problem = { status: null, reason: (error as Error).message, at: new Date() };
    }
  }

  /** Sends what may be sent now. */
  pump(): void {
    const { maxInFlight, rate } = this.#subscription;
    const { defaultMaxInFlight, permits } = this.#context;
    const most = maxInFlight ?? defaultMaxInFlight;
    while (this.#inFlight < most && this.#maySend()) {
      const again = this.#again.peek();
      if (again ? !this.#supply.isAtHand(again) : !this.#supply.hasNext()) {
        if (again || this.pauseMs !== 0 || !this.#promote()) return;
        continue;
      }
      const now = performance.now();
      const pause = this.pauseMs ?? 0;
      const wait = pause > 0 || rate === null ? pause : this.#rateLimit.take(rate, now);
      if (wait > 0) {
        this.#pumpAfter(wait);
        return;
      }
      if (!permits.isFree(this.#inFlight)) {
        permits.wait(this.#pump);
        return;
      }
      if (!this.#breaker.admits(now)) return;
      this.#send(this.#again.shift() ?? this.#supply.next());
    }
  }

  /** Sends the batch again after a pause. */
  retryLater(batch: Batch, pauseMs: number): void {
    if (this.#isStopped) return;
    const timer = setTimeout(() => {
      this.#later.delete(batch);
      this.#again.push(batch);
      this.pump();
    }, pauseMs);
    this.#later.set(batch, timer);
  }

  /** Sends the batches instead of the first that is to be sent again. */
  replaceAgain(batches: readonly Batch[]): void {
    this.#again.shift();
    for (const batch of batches) this.#again.push(batch);
  }

  /** What waits for its time need not, nor does the endpoint as a whole. */
  endPauses(): void {
    this.#breaker.reset();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.sendAgainNow();
  }

  /** What waits for its time need not. */
  sendAgainNow(): void {
    for (const [batch, timer] of this.#later) {
      clearTimeout(timer);
      this.#again.push(batch);
    }
    this.#later = new Map();
  }

  /** Forgets what is to be sent again, and returns it. */
  forget(): Batch[] {
    for (const timer of this.#later.values()) clearTimeout(timer);
    const batches = this.waiting;
    this.#later = new Map();
    this.#again = new Queue();
    return batches;
  }

  /** Begins nothing more; what is under way goes on. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.forget();
  }

  /** A probe is due: the batch that has waited longest need not wait any more. */
  #promote(): boolean {
    const [first] = this.#later;
    if (!first) return false;
    const [batch, timer] = first;
    clearTimeout(timer);
    this.#later.delete(batch);
    this.#again.push(batch);
    return true;
  }

  #maySend(): boolean {
    const { enabled } = this.#subscription;
    const isReady = enabled && !this.#isStopped && !this.#isWaiting && !this.#problem;
    return isReady && this.#context.maySend();
  }

  #pumpAfter(wait: number): void {
    this.#timer ??= setTimeout(
      () => {
        this.#timer = undefined;
        this.pump();
      },
      Math.max(wait, 5),
    );
  }

  #send(batch: Batch): void {
    const { url, timeoutMs } = this.#subscription;
    const body = bodyOf(batch);
    this.#inFlight++;
    this.#context.permits.take();
    for (const member of batch.members) member.inFlight = true;
    this.#context.transport.send(
      {
        url,
        headers: this.#headersOf(batch, body),
        body,
        timeoutMs: timeoutMs ?? this.#context.defaultTimeoutMs,
      },
      (answer) => this.#answered(batch, answer),
    );
  }

  #headersOf(batch: Batch, body: Buffer): string[] {
    const timestamp = Math.floor(Date.now() / 1000);
    const headers = this.#headers.of(batch).slice();
    headers.push('webhook-id', batch.id, 'webhook-timestamp', String(timestamp));
    if (this.#signer) headers.push('webhook-signature', this.#signer(batch.id, timestamp, body));
    if (batch.isArray) {
      headers.push('pgstream-event-ids', batch.members.map(({ id }) => id).join(' '));
    }
    if (batch.members.some(({ replayed }) => replayed)) headers.push('webhook-replay', 'true');
    return headers;
  }

  #answered(batch: Batch, answer: Answer): void {
    this.#inFlight--;
    this.#context.permits.give();
    for (const member of batch.members) member.inFlight = false;
    if ('status' in answer && answer.status >= 200 && answer.status < 300) {
      this.#context.log.trace({ id: batch.id, status: answer.status }, 'event delivered');
      if (this.#breaker.succeeded()) this.endPauses();
      this.#supply.accepted(batch);
    } else {
      const asked = 'status' in answer ? retryAfterMs(answer.retryAfter, Date.now()) : undefined;
      this.#breaker.failed(performance.now(), Math.random(), asked ?? 0);
      this.#supply.failed(batch, failureOf(answer));
    }
    this.pump();
  }
}

function failureOf(answer: Answer): Failure {
  const at = new Date();
  return 'status' in answer
    ? { status: answer.status, reason: `HTTP status ${answer.status}`, at }
    : { status: null, reason: reasonOf(answer.error), at };
}

const reasonOf = (error: Error & { code?: unknown }) =>
  error.message || (typeof error.code === 'string' ? error.code : error.name);
