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
import { Commit } from './event/commit.js';
import type { Change } from './event/encode.js';
import { isAsLogged } from './event/logged-table.js';
import type { SchemaDocument } from './event/schema-versions.js';
import { typeName } from './event/type-name.js';
import { transactionIdPrefix } from './event/webhook-id.js';
import { PgstreamError } from './errors.js';
import { Chunks, type ChunksOptions } from './pipeline/chunks.js';
import { HandOut, type HandOutOptions, type Occasion } from './pipeline/hand-out.js';
import { keysOf, summaryOf, Tables, type Table, type TablesOptions } from './pipeline/tables.js';
import { copyTag, positionOf } from './replication/copy-data.js';
import { formatLsn, lsnTextAt, type Lsn } from './replication/lsn.js';
import type { Message, Relation, Tuple } from './replication/pgoutput.js';
import type { Decoder } from './replication/plugin.js';
import type { Progress, Transaction } from './replication/progress.js';
import { toPostgresMicroseconds } from './replication/timestamp.js';
import { record } from './replication/tuple.js';
import type { Seams } from './snapshot/seams.js';
import type { TableDescription } from './source/catalog.js';
import type { Passed } from './source/passed.js';
import { changesValues, type Rewrite } from './source/rewrites.js';
import type { Subscription } from './subscriptions/subscription.js';

export interface PipelineOptions extends TablesOptions, HandOutOptions, ChunksOptions {
  /** The timeline of the server's log that a position is of. */
  readonly timelineAt: (position: Lsn) => number;
  /** `system_identifier` of the cluster. */
  readonly system: bigint;
  readonly decoder: Decoder;
  readonly progress: Progress;
  readonly seams: Seams;
  readonly describeTable: (
    relation: Relation,
    streamedType: (typeOid: number) => string | undefined,
  ) => Promise<TableDescription>;
  /** Marks changes of subscriptions and schemas as passed; resolves when that is durable. */
  readonly markPassed: (passed: Passed, commitEnd: Lsn) => Promise<void>;
  /** Tables were rewritten; resolves when their rows have been asked for. */
  readonly onRewritten: (rewrites: readonly Rewrite[]) => Promise<void>;
  /** A schema may have changed in a way that its log or the publications could not follow. */
  readonly onUnlogged: () => void;
  /** Work that a transaction waits for has failed for good. */
  readonly fail: (error: unknown) => void;
}

/** What was committed longer ago is late. */
const lateMicroseconds = 10_000_000n;

interface OpenTransaction extends Occasion {
  /** Changes received so far. */
  ordinal: number;
  /** Changes that were received before the connection broke. */
  skip: number;
  readonly subscriptionChanges: { id: string; subscription: number; definition: string | null }[];
  /** The last version of each schema that it has changed. */
  readonly versions: Map<string, bigint>;
  /** The ids of the versions that metadata is filled in from. */
  readonly acked: string[];
  readonly rewrites: Rewrite[];
}

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #tables: Tables;
  readonly #handOut: HandOut;
  readonly #chunks: Chunks;
  readonly #typeNames = new Map<number, string>();
  #open: OpenTransaction | undefined;
  #interrupted: OpenTransaction | undefined;
  #resumeAt: Lsn;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#resumeAt = options.progress.confirmed;
    this.#tables = new Tables(options);
    this.#handOut = new HandOut(options);
    this.#chunks = new Chunks(options, this.#tables, this.#handOut);
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
        return this.#change(message.relation, { action: 'I', new: message.new }, lsn());
      case 'update':
        return this.#change(
          message.relation,
          { action: 'U', new: message.new, old: message.old },
          lsn(),
        );
      case 'delete':
        return this.#change(message.relation, { action: 'D', old: message.old }, lsn());
      case 'truncate':
        for (const relation of message.relations) {
          void this.#change(relation, { action: 'T' }, lsn());
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
        rewrites: [],
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
    const { transaction, subscriptionChanges, versions, acked, rewrites } = this.#inTransaction();
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
    if (rewrites.length > 0) this.#holdFor(transaction, this.#options.onRewritten(rewrites));
    this.#open = undefined;
    this.#resumeAt = end;
    progress.commit(end);
    if (subscriptionChanges.length === 0) return undefined;
    const tables = this.#tables.relations();
    return learnRights(
      changed.map(({ id, owner }) => [
        owner,
        tables.filter(({ schema, name }) => registry.isTo(id, schema, name)).map(({ oid }) => oid),
      ]),
    );
  }

  async #relation(message: Relation): Promise<void> {
    const { describeTable, versions, onUnlogged, registry, learnRights } = this.#options;
    const owners = registry.ownersOf(message.schema, message.name);
    await learnRights(owners.map((owner) => [owner, [message.oid]]));
    const description = await describeTable(message, (oid) => this.#typeNames.get(oid));
    const { relation } = this.#tables.learn(message, description);
    const logged = versions.find(relation.schema, relation.oid);
    if (relation.schema !== 'pgstream' && !isAsLogged(relation, description.types, logged)) {
      onUnlogged();
    }
    if (this.#open && this.#open.ordinal < this.#open.skip) this.#tables.move(message.oid);
  }

  /** A promise is returned only for an INSERT that the next message has to wait for. */
  #change(oid: number, change: Change, lsn: string): Promise<void> | undefined {
    const open = this.#inTransaction();
    const table = this.#tables.get(oid);
    if (!table) throw new Error(`a change of table ${oid} came before its description`);
    const keys = keysOf(table, change, open.transaction);
    if (++open.ordinal <= open.skip) return undefined;
    this.#options.seams.note(oid, open.commit.xid, change, table.keyColumns);
    const { schema, name } = table.relation;
    let changedTables: readonly number[] = [];
    if (schema === 'pgstream' && change.new) {
      if (name === 'subscription_changes') this.#noteSubscription(open, table, change.new);
      else if (name === 'snapshot_marks') return this.#mark(open, table, change.new);
      else if (name === 'table_rewrites') this.#noteRewrite(open, table, change.new);
      else if (name === 'ddl_error') this.#options.onUnlogged();
      else if (name === 'schema_log') {
        changedTables = this.#noteSchemaVersion(open, table, change.new);
      }
    }
    const { subscriptions, views } = this.#tables.recipients(table, change);
    if (subscriptions.length === 0) return undefined;
    const occurrence = {
      occasion: open,
      ordinal: open.ordinal,
      change,
      lsn,
      keys,
      table,
      tables: changedTables.length === 0 ? table.lane : [oid, ...changedTables],
      isBarrier: change.action === 'T' || changedTables.length > 0,
      event: summaryOf(table, change, open.commit.timestamp),
      views,
    };
    this.#handOut.deliver(occurrence, subscriptions);
    return undefined;
  }

  /** The rows that were read for this place in the log. */
  #mark(open: OpenTransaction, table: Table, row: Tuple): Promise<void> | undefined {
    const { seams } = this.#options;
    const chunk = seams.take(record(table.relation, row)['id']!);
    return chunk && this.#chunks.handOut(chunk, open, open.ordinal);
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

  #noteRewrite(open: OpenTransaction, table: Table, row: Tuple): void {
    const { id, oid, reason } = record(table.relation, row);
    if (changesValues(Number(reason))) open.rewrites.push({ id: id!, oid: oid! });
  }

  /** Returns the tables that the version changes. */
  #noteSchemaVersion(open: OpenTransaction, table: Table, row: Tuple): readonly number[] {
    const { versions, injectMetadata, registry } = this.#options;
    const { id, version, schema_name: schemaName, schema } = record(table.relation, row);
    open.versions.set(schemaName!, BigInt(version!));
    if (injectMetadata || registry.injectsMetadata) open.acked.push(id!);
    const changed = versions.apply(schemaName!, id!, JSON.parse(schema!) as SchemaDocument);
    for (const oid of changed) this.#tables.move(oid);
    return changed;
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
