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
import { Bodies } from './event/bodies.js';
import { Commit } from './event/commit.js';
import type { Action, Change } from './event/encode.js';
import { businessKeys, businessType, isBusiness } from './event/business.js';
import type { Origin } from './event/formats.js';
import { keyColumns, withPartitionIdentity } from './event/identity.js';
import { JsonWriter } from './event/json-writer.js';
import { isAsLogged } from './event/logged-table.js';
import { rowKeys } from './event/row-key.js';
import { Views, type View } from './event/view.js';
import type { SchemaDocument, SchemaVersions } from './event/schema-versions.js';
import { sliceOf, type Slice } from './event/slice.js';
import { typeName } from './event/type-name.js';
import { transactionIdPrefix, webhookId } from './event/webhook-id.js';
import { PgstreamError } from './errors.js';
import type { Judge } from './evaluation/judge.js';
import { Plans } from './evaluation/plans.js';
import type { Target, Verdict } from './evaluation/question.js';
import { copyTag, positionOf } from './replication/copy-data.js';
import { formatLsn, lsnTextAt, type Lsn } from './replication/lsn.js';
import type { Message, Relation, Tuple } from './replication/pgoutput.js';
import type { Decoder } from './replication/plugin.js';
import type { Progress, Transaction } from './replication/progress.js';
import { toPostgresMicroseconds } from './replication/timestamp.js';
import { record } from './replication/tuple.js';
import type { TableDescription } from './source/catalog.js';
import type { Passed } from './source/passed.js';
import type { Registry } from './subscriptions/registry.js';
import { isFor, withReadableProgram, type Question, type Rights } from './subscriptions/rights.js';
import type { Subscription } from './subscriptions/subscription.js';

export interface PipelineOptions {
  /** The timeline of the server's log that a position is of. */
  readonly timelineAt: (position: Lsn) => number;
  /** `system_identifier` of the cluster. */
  readonly system: bigint;
  readonly origin: Origin;
  readonly decoder: Decoder;
  readonly progress: Progress;
  readonly dispatcher: Dispatcher;
  readonly judge: Judge;
  readonly registry: Registry;
  /** What the owners of subscriptions may read. */
  readonly rights: Rights;
  /** Resolves when that is known of these tables; undefined where it is. */
  readonly learnRights: (question: Question) => Promise<void> | undefined;
  readonly versions: SchemaVersions;
  /** Fill in metadata for every subscription, not only for those that ask for it. */
  readonly injectMetadata: boolean;
  readonly describeTable: (
    relation: Relation,
    streamedType: (typeOid: number) => string | undefined,
  ) => Promise<TableDescription>;
  /** Marks changes of subscriptions and schemas as passed; resolves when that is durable. */
  readonly markPassed: (passed: Passed, commitEnd: Lsn) => Promise<void>;
  /** A schema may have changed in a way that its log or the publications could not follow. */
  readonly onUnlogged: () => void;
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
  readonly commit: Commit;
  readonly isLate: boolean;
  /** What the ids of its events begin with. */
  readonly id: { readonly prefix: string };
  /** Changes received so far. */
  ordinal: number;
  /** Changes that were received before the connection broke. */
  skip: number;
  readonly subscriptionChanges: { id: string; subscription: number; definition: string | null }[];
  /** The last version of each schema that it has changed. */
  readonly versions: Map<string, bigint>;
  /** The ids of the versions that metadata is filled in from. */
  readonly acked: string[];
}

/** Subscriptions to an action, and what each is shown. */
interface Recipients {
  readonly subscriptions: readonly Subscription[];
  readonly views: ReadonlyMap<Subscription, View>;
}

/** A change that somebody is told of. */
interface Occurrence {
  readonly open: OpenTransaction;
  /** Its count in the transaction. */
  readonly ordinal: number;
  readonly change: Change;
  readonly lsn: string;
  readonly keys: readonly number[];
  readonly table: Table;
  readonly tables: readonly number[];
  readonly isBarrier: boolean;
  readonly event: EventSummary;
  readonly views: Recipients['views'];
}

interface Table {
  readonly relation: Relation;
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

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #bodies = new Bodies(new JsonWriter());
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
    this.#options.decoder.interrupted();
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
    const lsn = () => lsnTextAt(bytes, start + 1);
    return this.#options.decoder.decode(bytes, start, end, (message) => this.#take(message, lsn));
  }

  #take(message: Message, lsn: () => string): Promise<void> | undefined {
    switch (message.tag) {
      case 'begin':
        this.#begin(message);
        break;
      case 'commit':
        return this.#commit(message.endLsn);
      case 'relation':
        return this.#relation(message);
      case 'type':
        this.#noteType(message);
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
        commit: new Commit(message.commitTime, message.xid),
        isLate: toPostgresMicroseconds(Date.now()) - message.commitTime > lateMicroseconds,
        id: { prefix: this.#idPrefix(message.finalLsn) },
        ordinal: 0,
        skip: 0,
        subscriptionChanges: [],
        versions: new Map(),
        acked: [],
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

  #commit(end: Lsn): Promise<void> | undefined {
    const { dispatcher, progress, registry, learnRights } = this.#options;
    const { transaction, subscriptionChanges, versions, acked } = this.#inTransaction();
    const changed: Subscription[] = [];
    for (const { id, subscription, definition } of subscriptionChanges) {
      const parsed = definition === null ? null : (JSON.parse(definition) as Subscription);
      if (parsed) registry.set(parsed);
      else registry.delete(subscription);
      if (parsed) changed.push(parsed);
      dispatcher.reconfigure(subscription, Number(id), parsed);
    }
    if (subscriptionChanges.length > 0 || versions.size > 0) {
      const ids = subscriptionChanges.map(({ id }) => id);
      const passed = { subscriptionChanges: ids, versions, acked };
      this.#holdFor(transaction, this.#options.markPassed(passed, end));
    }
    this.#open = undefined;
    this.#resumeAt = end;
    progress.commit(end);
    if (subscriptionChanges.length === 0) return undefined;
    const tables = [...this.#tables.values()].map(({ relation }) => relation);
    return learnRights(
      changed.map(({ id, owner }) => [
        owner,
        tables.filter(({ schema, name }) => registry.isTo(id, schema, name)).map(({ oid }) => oid),
      ]),
    );
  }

  async #relation(message: Relation): Promise<void> {
    const { describeTable, versions, onUnlogged, registry, learnRights, origin } = this.#options;
    const owners = registry.ownersOf(message.schema, message.name);
    await learnRights(owners.map((owner) => [owner, [message.oid]]));
    const description = await describeTable(message, (oid) => this.#typeNames.get(oid));
    const relation = withPartitionIdentity(message, description.partitionIdentity);
    const logged = versions.find(relation.schema, relation.oid);
    if (relation.schema !== 'pgstream' && !isAsLogged(relation, description.types, logged)) {
      onUnlogged();
    }
    const columns = keyColumns(relation, logged?.primaryKey ?? description.primaryKey);
    const before = this.#tables.get(relation.oid);
    const isSame =
      before &&
      String(nameColumns(before)) === String(nameColumns({ relation, keyColumns: columns }));
    this.#tables.set(relation.oid, {
      relation,
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
    });
    if (this.#open && this.#open.ordinal < this.#open.skip) this.#moveTable(message.oid);
  }

  /** Up to version 15, Postgres does not say in the stream that a schema has been renamed. */
  #moveTable(oid: number): void {
    const table = this.#tables.get(oid);
    const schema = this.#options.versions.schemaOf(oid);
    if (!table || schema === undefined || schema === table.relation.schema) return;
    const relation = { ...table.relation, schema };
    const views = new Views(relation, table.description.types, this.#options.origin);
    const moved = { relation, views, summary: undefined, matches: new Map() };
    this.#tables.set(oid, { ...table, ...moved });
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
      else if (name === 'ddl_error') this.#options.onUnlogged();
      else if (name === 'schema_log') {
        changedTables = this.#noteSchemaVersion(open, table, change.new);
      }
    }
    const recipients = table.isBusiness
      ? this.#shownTo(
          table,
          this.#options.registry.matchBusiness(businessType(table.relation, change)),
        )
      : this.#recipients(table, change.action);
    if (recipients.subscriptions.length === 0) return;
    this.#deliver(open, table, change, lsn, keys, changedTables, recipients);
  }

  /** Of a domain, the stream names the type below. */
  #noteType({ oid, schema, name }: Message & { tag: 'type' }): void {
    if (schema === 'pg_catalog') this.#typeNames.delete(oid);
    else this.#typeNames.set(oid, typeName(schema, name));
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
    const { versions, injectMetadata, registry } = this.#options;
    const { id, version, schema_name: schemaName, schema } = record(table.relation, row);
    open.versions.set(schemaName!, BigInt(version!));
    if (injectMetadata || registry.injectsMetadata) open.acked.push(id!);
    const changed = versions.apply(schemaName!, id!, JSON.parse(schema!) as SchemaDocument);
    for (const oid of changed) this.#moveTable(oid);
    return changed;
  }

  #deliver(
    open: OpenTransaction,
    table: Table,
    change: Change,
    lsn: string,
    keys: readonly number[],
    changedTables: readonly number[],
    { subscriptions, views }: Recipients,
  ): void {
    const { dispatcher, judge } = this.#options;
    const { commit, ordinal, transaction } = open;
    const { action } = change;
    const occurrence: Occurrence = {
      open,
      ordinal,
      change,
      lsn,
      keys,
      table,
      tables: changedTables.length === 0 ? table.lane : [table.relation.oid, ...changedTables],
      isBarrier: action === 'T' || changedTables.length > 0,
      event: summaryOf(table, change, commit.timestamp),
      views,
    };
    this.#bodies.forget();

    const split = this.#plans.split(table.relation, subscriptions);
    let targets: readonly Target[] = split.targets;
    for (const subscription of split.plain) {
      // What is still being judged comes first.
      if (judge.mayWait(subscription.id)) {
        targets = [...targets, { subscription, position: undefined }];
      } else {
        const body = this.#bodyFor(occurrence, subscription);
        dispatcher.deliver(subscription, this.#deliveryTo(occurrence, subscription, body));
      }
    }
    for (const subscription of split.invalid) {
      const problem = { reason: subscription.invalidReason!, isInvalid: true };
      this.#refuse(occurrence, subscription, this.#bodyFor(occurrence, subscription), problem);
    }
    if (targets.length === 0) return;

    // What the change holds is gone afterwards.
    const captured = split.plan.capture(change);
    const bodies = new Map(
      targets.map(
        ({ subscription }) => [subscription, this.#bodyFor(occurrence, subscription)] as const,
      ),
    );
    const bytes = [...new Set(bodies.values())].reduce((sum, { length }) => sum + length, 0);
    transaction.hold();
    judge.ask({
      plan: split.plan,
      captured,
      action,
      timestamp: commit.timestamp,
      targets,
      bytes: captured.bytes + bytes + questionBytes,
      settle: ({ subscription }: Target, verdict: Verdict) => {
        const usual = bodies.get(subscription)!;
        if (verdict.kind === 'failed') this.#refuse(occurrence, subscription, usual, verdict);
        if (verdict.kind !== 'send') return;
        const { body } = verdict;
        dispatcher.deliver(
          subscription,
          body === undefined
            ? this.#deliveryTo(occurrence, subscription, usual)
            : this.#deliveryTo(occurrence, subscription, sliceOf(Buffer.from(body)), 'pgstream'),
        );
      },
      done: () => transaction.release(),
    });
  }

  /** The usual body; to be made before the next message is taken. */
  #bodyFor({ open, ordinal, change, lsn, views }: Occurrence, subscription: Subscription): Slice {
    const { injectMetadata, versions } = this.#options;
    const view = views.get(subscription)!;
    const isInjected = injectMetadata || subscription.injectMetadata;
    const { encoders, ids } = view.prepare(versions);
    const encoder = encoders.of(subscription.format, isInjected ? ids : undefined);
    const ownId = encoder.tellsId ? webhookId(open.id.prefix, ordinal, subscription.id) : '';
    return this.#bodies.of(encoder, view.show(change), open.commit, lsn, ownId);
  }

  #deliveryTo(
    { open, ordinal, event, keys, table, tables, isBarrier, views }: Occurrence,
    subscription: Subscription,
    body: Slice,
    format = subscription.format,
  ): Delivery {
    const { id, commitLsn, transaction, isLate } = open;
    transaction.hold();
    return new Delivery({
      id,
      subscription: subscription.id,
      commitLsn,
      ordinal,
      event,
      format,
      columns: views.get(subscription)!.columns,
      body,
      bytes: body.length,
      transaction,
      stored: 'no',
      isLate,
      tables,
      keys,
      barrier: isBarrier || isFirstBeyondChange(table, subscription.id),
    });
  }

  /** It could not be told whether the event is to be sent. */
  #refuse(
    occurrence: Occurrence,
    subscription: Subscription,
    body: Slice,
    { reason, isInvalid }: { readonly reason: string; readonly isInvalid: boolean },
  ): void {
    const failure = { status: null, reason, at: new Date() };
    const delivery = this.#deliveryTo(occurrence, subscription, body);
    this.#options.dispatcher.refuse(subscription, delivery, failure, isInvalid);
  }

  #recipients(table: Table, action: Action): Recipients {
    const { registry, rights } = this.#options;
    if (table.matchesEpoch !== registry.epoch || table.rightsEpoch !== rights.epoch) {
      table.matches.clear();
      table.matchesEpoch = registry.epoch;
      table.rightsEpoch = rights.epoch;
    }
    let matches = table.matches.get(action);
    if (!matches) {
      const { schema, name } = table.relation;
      const internal = schema === 'pgstream' && name !== 'schema_log';
      matches = this.#shownTo(table, internal ? [] : registry.match(schema, name, action));
      table.matches.set(action, matches);
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
function summaryOf(table: Table, change: Change, committedAt: string): EventSummary {
  const { isBusiness, relation, summary: last } = table;
  const action = isBusiness ? businessType(relation, change) : change.action;
  if (last?.action === action && last.committedAt === committedAt) return last;
  const name = isBusiness
    ? { schema: '', table: '' }
    : { schema: relation.schema, table: relation.name };
  return (table.summary = { ...name, action, committedAt });
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
  if (table.isBusiness) return businessKeys(relation, change);
  const keys = rowKeys(relation.oid, columns, change);
  if (!description.partitionIdentity || keys.length === 0) return keys;
  const { departed } = table;
  if (change.action === 'D') table.departed = { transaction, keys };
  if (change.action !== 'I' || !departed) return keys;
  table.departed = undefined;
  return departed.transaction === transaction ? [...new Set([...keys, ...departed.keys])] : keys;
}
