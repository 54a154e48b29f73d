/**
 * From the messages of the slot to deliveries: decodes, follows transactions, subscriptions and
 * schema versions in the order of the log, and hands each event to the subscriptions that stand at
 * its place.
 *
 * Invariants
 * - A change of a subscription acts at its own commit: on every later transaction, on no earlier one.
 * - A transaction is held open until its events are delivered or stored and its changes of subscriptions are
 *   marked as passed, so that it is not confirmed before.
 * - After a reconnect the stream begins again behind the last COMMIT that was received; what had
 *   been received of an unfinished transaction is skipped by its count, not taken twice.
 */
import { Delivery, type EventSummary } from './delivery/delivery.js';
import type { Dispatcher } from './delivery/dispatcher.js';
import { encodeEvent, type Action, type Change } from './event/encode.js';
import { keyColumns, withPartitionIdentity } from './event/identity.js';
import { JsonWriter } from './event/json-writer.js';
import { rowKeys } from './event/row-key.js';
import type { SchemaDocument, SchemaVersions } from './event/schema-versions.js';
import { sliceOf, type Slice } from './event/slice.js';
import { prepareTable, type EventTable } from './event/table.js';
import { typeName } from './event/type-name.js';
import { transactionIdPrefix } from './event/webhook-id.js';
import { PgstreamError } from './errors.js';
import type { Judge, Target, Verdict } from './evaluation/judge.js';
import { Plans } from './evaluation/plans.js';
import { copyTag, dataHeaderBytes, positionOf } from './replication/copy-data.js';
import { formatLsn, lsnTextAt, type Lsn } from './replication/lsn.js';
import {
  createScratch,
  decode,
  type Message,
  type Relation,
  type Tuple,
} from './replication/pgoutput.js';
import type { Progress, Transaction } from './replication/progress.js';
import { formatTimestamp, toPostgresMicroseconds } from './replication/timestamp.js';
import { record } from './replication/tuple.js';
import type { TableDescription } from './source/catalog.js';
import type { Registry } from './subscriptions/registry.js';
import type { Subscription } from './subscriptions/subscription.js';

export interface PipelineOptions {
  /** The timeline of the server's log that a position is of. */
  readonly timelineAt: (position: Lsn) => number;
  /** `system_identifier` of the cluster. */
  readonly system: bigint;
  readonly progress: Progress;
  readonly dispatcher: Dispatcher;
  readonly judge: Judge;
  readonly registry: Registry;
  readonly versions: SchemaVersions;
  /** Fill in metadata for every subscription, not only for those that ask for it. */
  readonly injectMetadata: boolean;
  readonly describeTable: (
    relation: Relation,
    fallbackType: (typeOid: number) => string | undefined,
  ) => Promise<TableDescription>;
  /** Marks changes of subscriptions as passed; resolves when that is durable. */
  readonly markPassed: (changes: readonly string[], commitEnd: Lsn) => Promise<void>;
  /** Marks a version of the schema log as passed; resolves when that is durable. */
  readonly ackSchemaVersion: (id: string) => Promise<void>;
  /** A statement was run that the schema log or the publications could not follow. */
  readonly onDdlError: () => void;
  /** Work that a transaction waits for has failed for good. */
  readonly fail: (error: unknown) => void;
}

/** What an event takes in memory beside its values while it is judged. */
const questionBytes = 1024;

/** What was committed longer ago is late. */
const lateMicroseconds = 10_000_000n;

interface OpenTransaction {
  readonly transaction: Transaction;
  readonly commitLsn: Lsn;
  /** The time of the commit, as Postgres prints it. */
  readonly timestamp: string;
  readonly isLate: boolean;
  /** What the ids of its events begin with. */
  readonly id: { readonly prefix: string };
  /** Changes received so far. */
  ordinal: number;
  /** Changes that were received before the connection broke. */
  skip: number;
  readonly subscriptionChanges: { id: string; subscription: number; definition: string | null }[];
}

interface Table {
  readonly relation: Relation;
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
  readonly plain: EventTable;
  injected: EventTable;
  injectedEpoch: number;
  readonly matches: Map<Action, readonly Subscription[]>;
  matchesEpoch: number;
}

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #writer = new JsonWriter();
  readonly #scratch = createScratch();
  readonly #tables = new Map<number, Table>();
  readonly #typeNames = new Map<number, string>();
  readonly #plans: Plans;
  #open: OpenTransaction | undefined;
  #interrupted: OpenTransaction | undefined;
  #resumeAt: Lsn;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#resumeAt = options.progress.confirmed;
    this.#plans = new Plans((plan) => options.judge.expect(plan));
  }

  /** The end of the last COMMIT that was received: where a new connection has to begin. */
  get resumeAt(): Lsn {
    return this.#resumeAt;
  }

  /** The connection has broken; the next arrival is the first of a new one. */
  interrupted(): void {
    this.#interrupted = this.#open ?? this.#interrupted;
    this.#open = undefined;
  }

  /**
   * Takes the message that lies there. A promise is returned only when the next one has to wait for
   * it; the bytes are not needed any more then.
   */
  take(bytes: Buffer, start: number, end: number): Promise<void> | undefined {
    if (bytes[start] === copyTag.keepalive) {
      this.#options.progress.keepalive(positionOf(bytes, start));
      return undefined;
    }
    const message = decode(bytes, start + dataHeaderBytes, end, this.#scratch);
    const lsn = () => lsnTextAt(bytes, start + 1);
    switch (message.tag) {
      case 'begin':
        this.#begin(message);
        break;
      case 'commit':
        this.#commit(message.endLsn);
        break;
      case 'relation':
        return this.#relation(message);
      case 'type':
        this.#typeNames.set(message.oid, typeName(message.schema, message.name));
        break;
      case 'insert':
        this.#change(message.relation, { action: 'I', new: message.new }, lsn());
        break;
      case 'update':
        this.#change(message.relation, { action: 'U', new: message.new, old: message.old }, lsn());
        break;
      case 'delete':
        this.#change(message.relation, { action: 'D', old: message.old }, lsn());
        break;
      case 'truncate':
        for (const relation of message.relations) {
          this.#change(relation, { action: 'T' }, lsn());
        }
        break;
      case 'origin':
      case 'message':
    }
    return undefined;
  }

  #begin(message: Message & { tag: 'begin' }): void {
    const interrupted = this.#interrupted;
    this.#interrupted = undefined;
    if (!interrupted) {
      this.#open = {
        transaction: this.#options.progress.begin(),
        commitLsn: message.finalLsn,
        timestamp: formatTimestamp(message.commitTime),
        isLate: toPostgresMicroseconds(Date.now()) - message.commitTime > lateMicroseconds,
        id: { prefix: this.#idPrefix(message.finalLsn) },
        ordinal: 0,
        skip: 0,
        subscriptionChanges: [],
      };
    } else if (interrupted.commitLsn === message.finalLsn) {
      this.#open = {
        ...interrupted,
        ordinal: 0,
        skip: Math.max(interrupted.skip, interrupted.ordinal),
      };
    } else {
      throw new PgstreamError(
        'log_diverged',
        `the server has another transaction at ${formatLsn(message.finalLsn)} than the one that ` +
          `was interrupted at ${formatLsn(interrupted.commitLsn)}`,
        { hint: 'The server was restored or replaced. Check it, then start pgstream again.' },
      );
    }
  }

  #commit(end: Lsn): void {
    const { dispatcher, progress, registry } = this.#options;
    const { transaction, subscriptionChanges } = this.#inTransaction();
    for (const { id, subscription, definition } of subscriptionChanges) {
      const parsed = definition === null ? null : (JSON.parse(definition) as Subscription);
      if (parsed) registry.set(parsed);
      else registry.delete(subscription);
      dispatcher.reconfigure(subscription, Number(id), parsed);
    }
    if (subscriptionChanges.length > 0) {
      const ids = subscriptionChanges.map(({ id }) => id);
      this.#holdFor(transaction, this.#options.markPassed(ids, end));
    }
    this.#open = undefined;
    this.#resumeAt = end;
    progress.commit(end);
  }

  async #relation(message: Relation): Promise<void> {
    const { describeTable, versions } = this.#options;
    const description = await describeTable(message, (oid) => this.#typeNames.get(oid));
    const relation = withPartitionIdentity(message, description.partitionIdentity);
    const plain = prepareTable(relation, description.types);
    const columns = keyColumns(relation, description.primaryKey);
    const before = this.#tables.get(relation.oid);
    const isSame =
      before &&
      String(nameColumns(before)) === String(nameColumns({ relation, keyColumns: columns }));
    this.#tables.set(relation.oid, {
      relation,
      description,
      keyColumns: columns,
      beyondChange: isSame ? before.beyondChange : before && new Set(),
      departed: before?.departed,
      lane: [relation.oid],
      summary: undefined,
      plain,
      injected: plain,
      injectedEpoch: versions.epoch - 1,
      matches: new Map(),
      matchesEpoch: -1,
    });
  }

  #change(oid: number, change: Change, lsn: string): void {
    const open = this.#inTransaction();
    const table = this.#tables.get(oid);
    if (!table) throw new Error(`a change of table ${oid} came before its description`);
    const keys = keysOf(table, change, open.transaction);
    if (++open.ordinal <= open.skip) return;
    const { schema, name } = table.relation;
    let changedTables: readonly number[] = [];
    if (schema === 'pgstream' && change.new) {
      if (name === 'subscription_changes') this.#noteSubscription(open, table, change.new);
      else if (name === 'ddl_error') this.#options.onDdlError();
      else if (name === 'schema_log') {
        changedTables = this.#noteSchemaVersion(open, table, change.new);
      }
    }
    const subscriptions = this.#matches(table, change.action);
    if (subscriptions.length === 0) return;
    this.#deliver(open, table, change, lsn, keys, changedTables, subscriptions);
  }

  #noteSubscription(open: OpenTransaction, table: Table, row: Tuple): void {
    const { id, subscription, definition } = record(table.relation, row);
    open.subscriptionChanges.push({
      id: id!,
      subscription: Number(subscription),
      definition: definition ?? null,
    });
  }

  /** Returns the tables that the version changes. */
  #noteSchemaVersion(open: OpenTransaction, table: Table, row: Tuple): readonly number[] {
    const { versions, injectMetadata, ackSchemaVersion } = this.#options;
    const { id, schema_name: schemaName, schema } = record(table.relation, row);
    if (injectMetadata) this.#holdFor(open.transaction, ackSchemaVersion(id!));
    return versions.apply(schemaName!, id!, JSON.parse(schema!) as SchemaDocument);
  }

  #deliver(
    open: OpenTransaction,
    table: Table,
    change: Change,
    lsn: string,
    keys: readonly number[],
    changedTables: readonly number[],
    subscriptions: readonly Subscription[],
  ): void {
    const { dispatcher, judge, injectMetadata } = this.#options;
    const { commitLsn, ordinal, timestamp, isLate, id, transaction } = open;
    const { action } = change;
    const event = summaryOf(table, action, timestamp);
    const tables = changedTables.length === 0 ? table.lane : [table.relation.oid, ...changedTables];
    const isBarrier = action === 'T' || changedTables.length > 0;
    const encode = (prepared: EventTable) =>
      encodeEvent(this.#writer, prepared, change, timestamp, lsn);
    let plain: Slice | undefined;
    let injected: Slice | undefined;
    const bodyFor = (subscription: Subscription) =>
      injectMetadata || subscription.injectMetadata
        ? (injected ??= encode(this.#injected(table)))
        : (plain ??= encode(table.plain));
    const deliveryTo = (subscription: Subscription, body: Slice) => {
      transaction.hold();
      return new Delivery({
        id,
        subscription: subscription.id,
        commitLsn,
        ordinal,
        event,
        body,
        bytes: body.length,
        transaction,
        stored: 'no',
        isLate,
        tables,
        keys,
        barrier: isBarrier || isFirstBeyondChange(table, subscription.id),
      });
    };
    const refuse = (subscription: Subscription, reason: string, isInvalid: boolean) => {
      const failure = { status: null, reason, at: new Date() };
      const delivery = deliveryTo(subscription, bodyFor(subscription));
      dispatcher.refuse(subscription, delivery, failure, isInvalid);
    };

    const split = this.#plans.split(table.relation, subscriptions);
    let targets: readonly Target[] = split.targets;
    for (const subscription of split.plain) {
      // What is still being judged comes first.
      if (judge.mayWait(subscription.id)) {
        targets = [...targets, { subscription, position: undefined }];
      } else {
        dispatcher.deliver(subscription, deliveryTo(subscription, bodyFor(subscription)));
      }
    }
    for (const subscription of split.invalid)
      refuse(subscription, subscription.invalidReason!, true);
    if (targets.length === 0) return;

    // What the change holds is gone afterwards.
    const captured = split.plan.capture(change);
    for (const { subscription } of targets) bodyFor(subscription);
    transaction.hold();
    judge.ask({
      plan: split.plan,
      captured,
      action,
      timestamp,
      targets,
      bytes: captured.bytes + (plain?.length ?? 0) + (injected?.length ?? 0) + questionBytes,
      settle: ({ subscription }: Target, verdict: Verdict) => {
        if (verdict.kind === 'failed') refuse(subscription, verdict.reason, verdict.isInvalid);
        if (verdict.kind !== 'send') return;
        const body =
          verdict.body === undefined ? bodyFor(subscription) : sliceOf(Buffer.from(verdict.body));
        dispatcher.deliver(subscription, deliveryTo(subscription, body));
      },
      done: () => transaction.release(),
    });
  }

  #matches(table: Table, action: Action): readonly Subscription[] {
    const { registry } = this.#options;
    if (table.matchesEpoch !== registry.epoch) {
      table.matches.clear();
      table.matchesEpoch = registry.epoch;
    }
    let matches = table.matches.get(action);
    if (!matches) {
      const { schema, name } = table.relation;
      const internal = schema === 'pgstream' && name !== 'schema_log';
      matches = internal ? [] : registry.match(schema, name, action);
      table.matches.set(action, matches);
    }
    return matches;
  }

  #injected(table: Table): EventTable {
    const { versions } = this.#options;
    if (table.injectedEpoch !== versions.epoch) {
      const { relation, description } = table;
      const ids = versions.find(relation.schema, relation.name);
      table.injected = ids ? prepareTable(relation, description.types, ids) : table.plain;
      table.injectedEpoch = versions.epoch;
    }
    return table.injected;
  }

  #idPrefix(commitLsn: Lsn): string {
    const { system, timelineAt } = this.#options;
    return transactionIdPrefix({ system, timeline: timelineAt(commitLsn), commitLsn });
  }

  #holdFor(transaction: Transaction, work: Promise<void>): void {
    transaction.hold();
    work.then(() => transaction.release(), this.#options.fail);
  }

  #inTransaction(): OpenTransaction {
    if (!this.#open) throw new Error('a change came outside a transaction');
    return this.#open;
  }
}

/** The same object for events that are alike. */
function summaryOf(table: Table, action: Action, committedAt: string): EventSummary {
  const last = table.summary;
  if (last?.action === action && last.committedAt === committedAt) return last;
  const { schema, name } = table.relation;
  return (table.summary = { schema, table: name, action, committedAt });
}

const nameColumns = ({ relation, keyColumns }: Pick<Table, 'relation' | 'keyColumns'>) =>
  keyColumns.map((i) => relation.columns[i]!.name);

function isFirstBeyondChange({ beyondChange }: Table, subscription: number): boolean {
  if (!beyondChange || beyondChange.has(subscription)) return false;
  beyondChange.add(subscription);
  return true;
}

/**
 * The rows that a change is of. An update that moves a row to another partition comes as a DELETE and
 * an INSERT, which have both keys like any update; a pair that only looks like one is held in order
 * without need.
 */
function keysOf(table: Table, change: Change, transaction: Transaction): readonly number[] {
  const { keyColumns: columns, relation, description } = table;
  const keys = rowKeys(relation.oid, columns, change);
  if (!description.partitionIdentity || keys.length === 0) return keys;
  const { departed } = table;
  if (change.action === 'D') table.departed = { transaction, keys };
  if (change.action !== 'I' || !departed) return keys;
  table.departed = undefined;
  return departed.transaction === transaction ? [...new Set([...keys, ...departed.keys])] : keys;
}
