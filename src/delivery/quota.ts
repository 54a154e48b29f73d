/**
 * How much of one subscription may stand in the table, and what becomes of the rest.
 *
 * Invariant: what goes beyond the quota is dealt with as the subscription says, and is never silently
 * stored. Under `hold` it waits here, in the order of the log, and its transactions with it: while
 * anything is held, nothing that comes later is written before it.
 */
import type { Log } from '../log.js';
import type { Backlog } from './backlog.js';
import type { Custody } from './custody.js';
import type { Delivery } from './delivery.js';
import type { DeliveryStore } from './store.js';

export interface QuotaContext {
  readonly store: DeliveryStore;
  /** Work that has to succeed has failed for good. */
  readonly fail: (error: unknown) => void;
  readonly log: Log;
}

/** What the quota asks of the endpoint. */
interface Hooks {
  readonly disable: (reason: string) => void;
  /** There is room again. */
  readonly advance: () => void;
}

/** Above this share of the quota the log says so. */
const warningShare = 0.8;

export class Quota {
  readonly #custody: Custody;
  readonly #backlog: Backlog;
  readonly #context: QuotaContext;
  readonly #hooks: Hooks;
  /** Events that the quota keeps out of the table. */
  #held: Delivery[] = [];
  #dropped = 0;
  #isDropping = false;
  #hasWarned = false;

  constructor(custody: Custody, backlog: Backlog, context: QuotaContext, hooks: Hooks) {
    this.#custody = custody;
    this.#backlog = backlog;
    this.#context = context;
    this.#hooks = hooks;
  }

  get held(): number {
    return this.#held.length;
  }

  get isHolding(): boolean {
    return this.#held.length > 0;
  }

  /** How many events it has cost. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Whether it is used up, or nearly so. */
  get isHigh(): boolean {
    const { storedBytes, subscription } = this.#custody;
    return storedBytes > subscription.spillQuota * warningShare;
  }

  /** Writes the delivery to the table, as far as the quota goes. */
  append(delivery: Delivery): void {
    this.#warn();
    const { window, subscription } = this.#custody;
    const { onQuota, enabled } = subscription;
    const isOver = !this.#fits(delivery);
    if (this.isHolding || (isOver && onQuota === 'hold')) {
      if (!window.has(delivery)) this.#held.push(delivery);
    } else if (isOver && onQuota === 'disable') {
      if (enabled) this.#hooks.disable('the spill quota was reached');
      this.#dropped++;
      this.#custody.letGo([delivery]);
    } else {
      this.#custody.write(delivery);
      if (isOver) this.dropOldest();
    }
  }

  /** What was held goes to the window, where `enter` takes it, or to the table, if there is room. */
  admit(enter: (delivery: Delivery) => boolean): void {
    for (let [next] = this.#held; next; [next] = this.#held) {
      if (!enter(next)) {
        if (!this.#fits(next) && this.#custody.subscription.onQuota === 'hold') return;
        if (!next.isDead) this.#backlog.lengthen();
        this.#custody.write(next);
      }
      this.#held.shift();
    }
  }

  /** What was held is not wanted any more. */
  letGo(): void {
    this.#custody.letGo(this.#held);
    this.#held = [];
  }

  /** Sees how full the table is, whoever has made room in it. */
  async recount(): Promise<void> {
    const { id } = this.#custody.subscription;
    this.#custody.storedBytes = await this.#context.store.bytesOf(id);
  }

  /** A row has just been written: what was over the quota before can be dropped only now. */
  enforce(): void {
    const { storedBytes, subscription } = this.#custody;
    const { onQuota, spillQuota } = subscription;
    if (onQuota === 'drop_oldest' && storedBytes > spillQuota) this.dropOldest();
  }

  /** Makes room at the cost of what is oldest, where the quota is exceeded. */
  dropOldest(): void {
    if (this.#isDropping) return;
    this.#isDropping = true;
    this.#dropExcess().catch(this.#context.fail);
  }

  async #dropExcess(): Promise<void> {
    const { window } = this.#custody;
    for (;;) {
      const { id, spillQuota } = this.#custody.subscription;
      const excess = this.#custody.storedBytes - spillQuota;
      const dropped = excess > 0 ? await this.#context.store.dropOldest(id, excess) : [];
      if (dropped.length === 0) break;
      this.#dropped += dropped.length;
      for (const { id: webhookId, bytes } of dropped) {
        const delivery = window.get(webhookId);
        if (delivery?.stored === 'yes') this.#custody.forgetRows([delivery]);
        else if (delivery) this.#custody.letGo([delivery]);
        else this.#custody.storedBytes -= bytes;
      }
    }
    this.#isDropping = false;
    this.#hooks.advance();
  }

  #fits({ bytes }: Delivery): boolean {
    return this.#custody.storedBytes + bytes <= this.#custody.subscription.spillQuota;
  }

  #warn(): void {
    const { storedBytes, subscription, description } = this.#custody;
    const { spillQuota, onQuota } = subscription;
    if (this.isHigh && !this.#hasWarned) {
      const details = { ...description, bytes: storedBytes, spillQuota, onQuota };
      this.#context.log.warn(details, 'what waits for the endpoint nears its quota');
    }
    this.#hasWarned = this.isHigh;
  }
}
