/** The tables as the stream has described them, and who is sent what of each. */
import type { EventSummary } from '../delivery/delivery.js';
import { businessKeys, businessType, isBusiness } from '../event/business.js';
import type { Action, Change } from '../event/encode.js';
import type { Origin } from '../event/formats.js';
import { keyColumns, withPartitionIdentity } from '../event/identity.js';
import { rowKeys } from '../event/row-key.js';
import type { SchemaVersions } from '../event/schema-versions.js';
import { Views, type View } from '../event/view.js';
import type { Relation } from '../replication/pgoutput.js';
import type { Transaction } from '../replication/progress.js';
import type { TableDescription } from '../source/catalog.js';
import type { Registry } from '../subscriptions/registry.js';
import { isFor, withReadableProgram, type Rights } from '../subscriptions/rights.js';
import type { Subscription } from '../subscriptions/subscription.js';

export interface Table {
  readonly relation: Relation;
  /** The relation as it was described at first, as JSON. */
  readonly source: string;
  /** Its rows are business events. */
  readonly isBusiness: boolean;
  readonly description: TableDescription;
  /** The columns that tell one row from another; none where nothing does. */
  readonly keyColumns: readonly number[];
  /**
   * Where these have changed: the subscriptions whose events wait no longer for all of the table's
   * earlier ones, which went by other keys. Undefined where they have not.
   */
  readonly beyondChange: Set<number> | undefined;
  /** The last row that has left one of the partitions, and is not in another one yet. */
  departed: { readonly transaction: Transaction; readonly keys: readonly number[] } | undefined;
  /** What the order of its events is about. */
  readonly lane: readonly number[];
  /** Of the last event. */
  summary: EventSummary | undefined;
  readonly views: Views;
  readonly matches: Map<Action, Recipients>;
  matchesEpoch: number;
  rightsEpoch: number;
}

/** Subscriptions to an action, and what each is shown. */
export interface Recipients {
  readonly subscriptions: readonly Subscription[];
  readonly views: ReadonlyMap<Subscription, View>;
}

export interface TablesOptions {
  readonly origin: Origin;
  readonly registry: Registry;
  /** What the owners of subscriptions may read. */
  readonly rights: Rights;
  readonly versions: SchemaVersions;
}

export class Tables {
  readonly #options: TablesOptions;
  readonly #tables = new Map<number, Table>();

  constructor(options: TablesOptions) {
    this.#options = options;
  }

  get(oid: number): Table | undefined {
    return this.#tables.get(oid);
  }

  relations(): Relation[] {
    return [...this.#tables.values()].map(({ relation }) => relation);
  }

  /** The table is from now on as `message` and `description` say. */
  learn(message: Relation, description: TableDescription): Table {
    const { versions, origin } = this.#options;
    const relation = withPartitionIdentity(message, description.partitionIdentity);
    const logged = versions.find(relation.schema, relation.oid);
    const columns = keyColumns(relation, logged?.primaryKey ?? description.primaryKey);
    const before = this.#tables.get(relation.oid);
    const isSame =
      before &&
      String(nameColumns(before)) === String(nameColumns({ relation, keyColumns: columns }));
    const table: Table = {
      relation,
      source: JSON.stringify(message),
      isBusiness: isBusiness(relation),
      description,
      keyColumns: columns,
      beyondChange: isSame ? before.beyondChange : before && new Set(),
      departed: before?.departed,
      lane: [relation.oid],
      summary: undefined,
      views: new Views(relation, description.types, origin),
      matches: new Map(),
      matchesEpoch: -1,
      rightsEpoch: -1,
    };
    this.#tables.set(relation.oid, table);
    return table;
  }

  /** Up to version 15, Postgres does not say in the stream that a schema has been renamed. */
  move(oid: number): void {
    const table = this.#tables.get(oid);
    const schema = this.#options.versions.schemaOf(oid);
    if (!table || schema === undefined || schema === table.relation.schema) return;
    const relation = { ...table.relation, schema };
    const views = new Views(relation, table.description.types, this.#options.origin);
    const moved = { relation, views, summary: undefined, matches: new Map() };
    this.#tables.set(oid, { ...table, ...moved });
  }

  /** Who is sent a change of the table. */
  recipients(table: Table, change: Change): Recipients {
    const { registry, rights } = this.#options;
    if (table.isBusiness) {
      return this.#shownTo(table, registry.matchBusiness(businessType(table.relation, change)));
    }
    if (table.matchesEpoch !== registry.epoch || table.rightsEpoch !== rights.epoch) {
      table.matches.clear();
      table.matchesEpoch = registry.epoch;
      table.rightsEpoch = rights.epoch;
    }
    let matches = table.matches.get(change.action);
    if (!matches) {
      const { schema, name } = table.relation;
      const internal = schema === 'pgstream' && name !== 'schema_log';
      matches = this.#shownTo(table, internal ? [] : registry.match(schema, name, change.action));
      table.matches.set(change.action, matches);
    }
    return matches;
  }

  /** Those of the subscriptions that are sent something of the table, or keep it, and what. */
  #shownTo(table: Table, subscriptions: readonly Subscription[]): Recipients {
    const { rights } = this.#options;
    const { oid } = table.relation;
    const views = new Map<Subscription, View>();
    for (const subscription of subscriptions) {
      const { owner } = subscription;
      const right = rights.of(owner, oid);
      if (!right) throw new Error(`what "${owner}" may read of table ${oid} is not known`);
      if (!isFor(right, subscription)) continue;
      // What is only kept is kept as it was shown before.
      const before = right.kind === 'denied' ? rights.before(owner, oid) : undefined;
      const columns = right.kind === 'some' ? right.columns : before;
      views.set(withReadableProgram(subscription, right), table.views.of(columns));
    }
    return { subscriptions: [...views.keys()], views };
  }
}

const nameColumns = ({ relation, keyColumns }: Pick<Table, 'relation' | 'keyColumns'>) =>
  keyColumns.map((i) => relation.columns[i]!.name);

/** The same object for events that are alike. */
export function summaryOf(table: Table, change: Change, committedAt: string): EventSummary {
  const { relation, summary: last } = table;
  const action = table.isBusiness ? businessType(relation, change) : change.action;
  if (last?.action === action && last.committedAt === committedAt) return last;
  const name = table.isBusiness
    ? { schema: '', table: '' }
    : { schema: relation.schema, table: relation.name };
  return (table.summary = { ...name, action, committedAt });
}

/** Whether the event is the first one of the subscription that goes by the table's new keys. */
export function isFirstBeyondChange({ beyondChange }: Table, subscription: number): boolean {
  if (!beyondChange || beyondChange.has(subscription)) return false;
  beyondChange.add(subscription);
  return true;
}

/**
 * The rows that a change is of. An update that moves a row to another partition comes as a DELETE and
 * an INSERT, which have both keys like any update; a pair that only looks like one is held in order
 * without need.
 */
export function keysOf(table: Table, change: Change, transaction: Transaction): readonly number[] {
  const { keyColumns: columns, relation, description } = table;
  if (table.isBusiness) return businessKeys(relation, change);
  const keys = rowKeys(relation.oid, columns, change);
  if (!description.partitionIdentity || keys.length === 0) return keys;
  const { departed } = table;
  if (change.action === 'D') table.departed = { transaction, keys };
  if (change.action !== 'I' || !departed) return keys;
  table.departed = undefined;
  return departed.transaction === transaction ? [...new Set([...keys, ...departed.keys])] : keys;
}
