/** Deliveries that were set aside because they might not be sent, and may be sent again. */
import type { Sql } from 'postgres';
import type { Rights } from '../subscriptions/rights.js';
import type { Subscription } from '../subscriptions/subscription.js';
import { deniedDeliveries, readmit } from './rights.js';
import type { Transactions } from './transactions.js';

/** Who sends them. */
export interface Senders {
  latest(id: number): Subscription | undefined;
  rescanOne(id: number): void;
}

export interface ReadmissionOptions {
  readonly sql: Sql;
  readonly transactions: Transactions;
  /** Repeats work while Postgres is away. */
  readonly keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
  readonly rights: Rights;
}

export class Readmission {
  readonly #options: ReadmissionOptions;
  #isDue = true;
  #epoch = -1;

  constructor(options: ReadmissionOptions) {
    this.#options = options;
  }

  /** One more was set aside, perhaps after the privilege had come back. */
  expect(): void {
    this.#isDue = true;
  }

  /** Looks at the table where something can have changed. */
  async run(senders: Senders): Promise<void> {
    const { sql, transactions, keepTrying, rights } = this.#options;
    if (!this.#isDue && this.#epoch === rights.epoch) return;
    this.#isDue = false;
    this.#epoch = rights.epoch;
    for (const denied of await keepTrying(() => deniedDeliveries(sql))) {
      const subscription = senders.latest(denied.subscription);
      const { relation, columns } = denied;
      const verdict = subscription && rights.judge(subscription, relation, columns ?? undefined);
      if (verdict?.is === 'unknown' || !verdict) this.#isDue = true;
      // What is held waits like everything else of its subscription.
      if (verdict?.is !== 'free') continue;
      await transactions.run((client) => readmit(client, denied));
      senders.rescanOne(denied.subscription);
    }
  }
}
