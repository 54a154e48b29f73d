/** The subscriptions that stand at the present place in the log, and whom an event goes to. */
import type { Action } from '../event/encode.js';
import type { Subscription } from './subscription.js';

/** Same meaning as the SQL function `pgstream._name_matches`. */
export function nameMatcher(pattern: string): (name: string) => boolean {
  if (pattern === '') return () => true;
  if (!isPattern(pattern)) return (name) => name === pattern;
  const source = pattern
    .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  const regexp = new RegExp(`^${source}$`, 'su');
  return (name) => regexp.test(name);
}

export const isPattern = (name: string) => name === '' || /[*?]/.test(name);

/** Whether a subscription is to row changes of this kind. */
export const wantsRows = ({ eventTypes }: Subscription, action: Action): boolean =>
  eventTypes.length === 0 || eventTypes.includes(action) || eventTypes.includes('*');

/** Whether a subscription is to row changes of any kind. */
const wantsAnyRows = ({ eventTypes }: Subscription): boolean =>
  eventTypes.length === 0 || eventTypes.some((type) => ['I', 'U', 'D', 'T', '*'].includes(type));

/** Whether a subscription is to business events of this type. */
const wantsBusiness = ({ schema, table, eventTypes }: Subscription, type: string): boolean =>
  schema === '' &&
  table === '' &&
  eventTypes.some(
    (wanted) =>
      wanted === '*' ||
      wanted === type ||
      (wanted.endsWith('.*') && type.startsWith(wanted.slice(0, -1))),
  );

interface Entry {
  readonly subscription: Subscription;
  readonly matches: (schema: string, table: string) => boolean;
}

export class Registry {
  readonly #entries = new Map<number, Entry>();
  /** Subscriptions to one named table, by that name. */
  readonly #exact = new Map<string, Set<number>>();
  readonly #patterns = new Set<number>();
  #epoch = 0;

  /** Changes whenever a subscription does. */
  get epoch(): number {
    return this.#epoch;
  }

  /** A subscription has been made or changed. */
  set(subscription: Subscription): void {
    this.delete(subscription.id);
    const schema = nameMatcher(subscription.schema);
    const table = nameMatcher(subscription.table);
    this.#entries.set(subscription.id, {
      subscription,
      matches: (schemaName, tableName) => schema(schemaName) && table(tableName),
    });
    if (isPattern(subscription.schema) || isPattern(subscription.table)) {
      this.#patterns.add(subscription.id);
    } else {
      const key = tableKey(subscription.schema, subscription.table);
      const ids = this.#exact.get(key) ?? new Set();
      this.#exact.set(key, ids.add(subscription.id));
    }
    this.#epoch++;
  }

  /** A subscription has been deleted. */
  delete(id: number): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    const { schema, table } = entry.subscription;
    this.#entries.delete(id);
    this.#patterns.delete(id);
    this.#exact.get(tableKey(schema, table))?.delete(id);
    this.#epoch++;
  }

  /** Whether any of them asks for metadata. */
  get injectsMetadata(): boolean {
    return [...this.#entries.values()].some(({ subscription }) => subscription.injectMetadata);
  }

  /** Whether the subscription is to the table. */
  isTo(id: number, schema: string, table: string): boolean {
    return this.#entries.get(id)?.matches(schema, table) ?? false;
  }

  /** Whether any of them is to row changes of the table. */
  wantsTable(schema: string, table: string): boolean {
    const ids = [...(this.#exact.get(tableKey(schema, table)) ?? []), ...this.#patterns];
    return ids.some((id) => {
      const { subscription, matches } = this.#entries.get(id)!;
      return wantsAnyRows(subscription) && matches(schema, table);
    });
  }

  /** The tables that row changes are wanted of; undefined where some are named by patterns. */
  get wantedTables(): readonly { readonly schema: string; readonly table: string }[] | undefined {
    const subscriptions = [...this.#entries.values()].map(({ subscription }) => subscription);
    const wanting = subscriptions.filter(wantsAnyRows);
    return wanting.some(({ id }) => this.#patterns.has(id)) ? undefined : wanting;
  }

  /** Those who have a subscription to the table. */
  ownersOf(schema: string, table: string): string[] {
    const entries = [...this.#entries.values()].filter(({ matches }) => matches(schema, table));
    return [...new Set(entries.map(({ subscription }) => subscription.owner))];
  }

  /** The subscriptions to an action on a table, in the order of their ids. */
  match(schema: string, table: string, action: Action): Subscription[] {
    return [...(this.#exact.get(tableKey(schema, table)) ?? []), ...this.#patterns]
      .flatMap((id) => this.#entries.get(id) ?? [])
      .filter(({ subscription, matches }) => {
        return matches(schema, table) && wantsRows(subscription, action);
      })
      .map(({ subscription }) => subscription)
      .sort((a, b) => a.id - b.id);
  }

  /** The subscriptions to a type of business events, in the order of their ids. */
  matchBusiness(type: string): Subscription[] {
    return [...this.#patterns]
      .flatMap((id) => this.#entries.get(id)?.subscription ?? [])
      .filter((subscription) => wantsBusiness(subscription, type))
      .sort((a, b) => a.id - b.id);
  }
}

const tableKey = (schema: string, table: string) => JSON.stringify([schema, table]);
