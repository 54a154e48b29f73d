/** Hands the rows of snapshots out, like inserts, at their place in the log. */
import type { Action } from '../event/encode.js';
import { rowKeys } from '../event/row-key.js';
import type { Transaction } from '../replication/progress.js';
import { keyText } from '../snapshot/seam.js';
import { isTold, type Chunk } from '../snapshot/seams.js';
import { wantsRows, type Registry } from '../subscriptions/registry.js';
import type { Question } from '../subscriptions/rights.js';
import type { Subscription } from '../subscriptions/subscription.js';
import type { HandOut, Occasion } from './hand-out.js';
import { summaryOf, type Table, type Tables } from './tables.js';

export interface ChunksOptions {
  readonly registry: Registry;
  /** Resolves when the rights of these owners on these tables are known; undefined where they are. */
  readonly learnRights: (question: Question) => Promise<void> | undefined;
  /** Resolves when there is room for more events; undefined where there is. */
  readonly room: () => Promise<void> | undefined;
}

const insert = { action: 'I' } as const;
const noLsn = '0/0';

export class Chunks {
  readonly #options: ChunksOptions;
  readonly #tables: Tables;
  readonly #handOut: HandOut;

  constructor(options: ChunksOptions, tables: Tables, handOut: HandOut) {
    this.#options = options;
    this.#tables = tables;
    this.#handOut = handOut;
  }

  /** Resolves when all rows are handed out, behind change `ordinal` of the transaction. */
  async handOut(chunk: Chunk, occasion: Occasion, ordinal: number): Promise<void> {
    const { registry, learnRights, room } = this.#options;
    const { relation, rows, seam, commit } = chunk;
    if (seam?.isSpoilt) return chunk.settle({ kind: 'spoilt' });
    const owners = registry.ownersOf(relation.schema, relation.name);
    await learnRights(owners.map((owner) => [owner, [relation.oid]]));
    const table = this.#tableOf(chunk);
    const { subscriptions, views } = this.#tables.recipients(table, insert);
    const meant = subscriptions.filter(({ id }) => (chunk.subscription ?? id) === id);
    if (meant.length === 0) {
      const all = registry.match(relation.schema, relation.name, 'I');
      const isWanted = all.some(({ id }) => (chunk.subscription ?? id) === id);
      return chunk.settle({ kind: isWanted ? 'denied' : 'unwanted' });
    }

    const transaction = onceReleased(occasion.transaction, () =>
      chunk.settle({ kind: 'done', lsn: occasion.commitLsn }),
    );
    const ours = { ...occasion, transaction, commit };
    for (const { tuple, id } of rows) {
      ordinal++;
      const to = seam ? untold(meant, seam.since(keyText(table.keyColumns, tuple))) : meant;
      if (to.length === 0) continue;
      const change = { ...insert, new: tuple };
      const occurrence = {
        occasion: ours,
        ordinal,
        change,
        lsn: noLsn,
        keys: rowKeys(relation.oid, table.keyColumns, change),
        table,
        tables: table.lane,
        isBarrier: false,
        event: summaryOf(table, change, commit.timestamp),
        views,
        id,
      };
      this.#handOut.deliver(occurrence, to);
      const wait = room();
      if (wait) await wait;
    }
    transaction.release();
  }

  /** The stream describes a table only before a change of it, which may be long ago or never. */
  #tableOf({ relation, description }: Chunk): Table {
    const known = this.#tables.get(relation.oid);
    const isAsKnown =
      known?.source === JSON.stringify(relation) &&
      JSON.stringify(known.description) === JSON.stringify(description);
    return isAsKnown ? known : this.#tables.learn(relation, description);
  }
}

/** Those that have not been sent anything newer. */
const untold = (subscriptions: readonly Subscription[], since: ReadonlySet<Action>) =>
  since.size === 0
    ? subscriptions
    : subscriptions.filter((each) => !isTold(since, (action) => wantsRows(each, action)));

/** The same transaction; `done` is called when its holders here, the first one included, are done. */
function onceReleased(transaction: Transaction, done: () => void): Transaction {
  let holds = 1;
  transaction.hold();
  return {
    hold() {
      holds++;
      transaction.hold();
    },
    release() {
      transaction.release();
      if (--holds === 0) done();
    },
  };
}
