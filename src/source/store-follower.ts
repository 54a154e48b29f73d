/**
 * Follows subscriptions that are kept in another database, the store: copies them into the source
 * whenever they change there, and tells the store how they do. It looks for changes, rather than
 * being notified of them: a transaction that has notified cannot be prepared.
 *
 * What is delivered comes from the copies alone. So the store may be away: nothing stops, and what
 * has changed meanwhile takes effect when it is back.
 */
import type { Sql } from 'postgres';
import type { Log } from '../log.js';
import { withoutValues } from '../settings/server-error.js';
import { oneAtATime } from './one-at-a-time.js';
import type { Transactions } from './transactions.js';

export interface StoreFollowerOptions {
  readonly store: Sql;
  readonly source: Sql;
  /** Of the source. */
  readonly transactions: Transactions;
  /** How often all is copied where no change is seen, in milliseconds. */
  readonly refreshMs: number;
  readonly log: Log;
}

/** How often it is looked whether the store has changed: a change is copied within two seconds. */
const lookMs = 1_000;
/** How often the store is told how its subscriptions do. */
const statusMs = 2_000;
/** After this time what failed is tried again. */
const retryMs = 1_000;
const lockNotAvailable = '55P03';

interface Refusal {
  readonly store_id: string;
  readonly code: string;
  readonly problem: string;
}

export class StoreFollower {
  readonly #options: StoreFollowerOptions;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #copy: () => void;
  #refused: readonly Refusal[] = [];
  #isAway = false;
  #isStopped = false;
  #retry: NodeJS.Timeout | undefined;
  /** What the changes in the store came to when it was last copied. */
  #copied: string | undefined;

  constructor(options: StoreFollowerOptions) {
    this.#options = options;
    this.#copy = oneAtATime(
      () => this.#attempt(() => this.#copyNow()),
      () => undefined,
    );
    const tell = oneAtATime(
      () => this.#attempt(() => this.#tell()),
      () => undefined,
    );
    const look = oneAtATime(
      () => this.#attempt(() => this.#look()),
      () => undefined,
    );
    this.#timers.push(
      setInterval(this.#copy, options.refreshMs),
      setInterval(tell, statusMs),
      setInterval(look, lookMs),
    );
    this.#copy();
  }

  /** Disables a subscription where it is kept, if that is the store. */
  async disable(id: number, reason: string): Promise<void> {
    const { source, store } = this.#options;
    const [copy] = await source<{ store_id: string | null }[]>`
      select store_id::text from pgstream.webhook_subscriptions where id = ${id}`;
    if (!copy?.store_id) return;
    await store`
      select pgstream._disable_subscription(
        subscription => ${copy.store_id}::bigint, reason => ${reason})`;
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#retry);
  }

  async #look(): Promise<void> {
    if ((await this.#changes()) !== this.#copied) this.#copy();
  }

  /** Differs from what it was whenever a change has been committed, in whichever order. */
  async #changes(): Promise<string> {
    const [row] = await this.#options.store<{ changes: string }[]>`
      select coalesce(sum(hashint8extended(id, 0)), 0)::text as changes
      from pgstream.subscription_changes`;
    return row!.changes;
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    if (this.#isStopped) return;
    const { log } = this.#options;
    try {
      await work();
      if (this.#isAway) log.info('the store of the subscriptions can be read again');
      this.#isAway = false;
    } catch (error) {
      if (this.#isStopped) return;
      const { message: reason } = withoutValues(error) as Error;
      if (!this.#isAway) log.warn({ reason }, 'cannot follow the store of the subscriptions');
      this.#isAway = true;
      this.#copySoon();
    }
  }

  async #copyNow(): Promise<void> {
    const { store, transactions, log } = this.#options;
    const changes = await this.#changes(); // before what they have led to is read
    const [read] = await store<{ subscriptions: string; last: string }[]>`
      select subscriptions::text, last_change::text as last from pgstream.stored_subscriptions()`;
    const { subscriptions, last } = read!;
    const { rows } = await transactions.run((client) =>
      client.query<Refusal>(
        'select store_id::text, code, problem from pgstream.copy_subscriptions($1)',
        [subscriptions],
      ),
    );
    await store`select pgstream.note_copied(${last}::bigint)`;
    log.debug({ refused: rows.length }, 'the subscriptions of the store are copied');
    this.#copied = changes;
    this.#note(rows);
    if (rows.some(({ code }) => code === lockNotAvailable)) this.#copySoon();
  }

  #note(refused: readonly Refusal[]): void {
    const before = new Set(this.#refused.map(({ store_id, problem }) => store_id + problem));
    this.#refused = refused;
    for (const { store_id: subscription, problem } of refused) {
      if (before.has(subscription + problem)) continue;
      this.#options.log.error({ subscription, problem }, 'cannot copy a subscription of the store');
    }
  }

  async #tell(): Promise<void> {
    const { store, source } = this.#options;
    const copied = await source<{ state: object }[]>`
      select to_jsonb(c) as state from pgstream.copied_status c`;
    const invalid = this.#refused.map(({ store_id: subscription, problem }) => ({
      subscription,
      state: 'invalid',
      last_error: problem,
      last_error_at: new Date().toISOString(),
    }));
    const states = [...copied.map(({ state }) => state), ...invalid];
    await store`select pgstream.note_states(${JSON.stringify(states)}::text::jsonb)`;
  }

  #copySoon(): void {
    clearTimeout(this.#retry);
    if (!this.#isStopped) this.#retry = setTimeout(this.#copy, retryMs);
  }
}
