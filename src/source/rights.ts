/** Asks the catalogs what the owners of subscriptions may read, again and again. */
import type pg from 'pg';
import type { Sql } from 'postgres';
import { Rights, type Question, type Restriction } from '../subscriptions/rights.js';

export interface RightsReaderOptions {
  readonly sql: Sql;
  /** Repeats work while Postgres is away. */
  readonly keepTrying: <T>(work: () => Promise<T>) => Promise<T>;
  /** Something is to be asked at once. */
  readonly onWanted: () => void;
}

/** A REVOKE acts within ten seconds: what was read longer ago says nothing any more. */
const freshMs = 8_000;

export class RightsReader {
  readonly rights: Rights;
  readonly #options: RightsReaderOptions;
  #readAt = -Infinity;
  /** Of the catalogs, from before all was asked for the last time. */
  #fingerprint: string | undefined;

  constructor(options: RightsReaderOptions) {
    this.#options = options;
    this.rights = new Rights(options.onWanted);
  }

  /** Whether what is known is new enough to act upon. */
  get isFresh(): boolean {
    return performance.now() - this.#readAt < freshMs;
  }

  /** Asks all that was ever asked anew, unless the answers cannot have changed. */
  async refresh(): Promise<void> {
    const { sql, keepTrying } = this.#options;
    const before = performance.now();
    const [row] = await keepTrying(
      async () => sql<{ fingerprint: string }[]>`
        select pgstream._rights_fingerprint() as fingerprint`,
    );
    const { fingerprint } = row!;
    const { question } = this.rights;
    if (fingerprint !== this.#fingerprint) await this.#ask(question);
    else await this.learn(question);
    this.#fingerprint = fingerprint;
    this.#readAt = before;
  }

  /** Resolves when the answer is known; undefined where it is. */
  learn(asked: Question): Promise<void> | undefined {
    const question = this.rights.unknown(asked);
    return question.length > 0 ? this.#ask(question) : undefined;
  }

  async #ask(question: Question): Promise<void> {
    const { sql, keepTrying } = this.#options;
    const wanted = question.map(([owner, relations]) => ({ owner, relations }));
    const restrictions = await keepTrying(
      async () => sql<Restriction[]>`
        select w.owner, r.relation::bigint::float8 as relation, to_json(r.columns) as columns,
          r.problem, r.reason, r.remedy
        from jsonb_to_recordset(${JSON.stringify(wanted)}::text::jsonb)
            as w(owner name, relations jsonb),
          lateral pgstream._restrictions(
            w.owner, array(select e::oid from jsonb_array_elements_text(w.relations) e)) r`,
    );
    this.rights.learn(question, restrictions);
  }
}

/** Deliveries of one kind that stand in the table because they may not be sent. */
export interface DeniedDeliveries {
  readonly subscription: number;
  readonly relation: number;
  readonly columns: readonly string[] | null;
}

export async function deniedDeliveries(sql: Sql): Promise<DeniedDeliveries[]> {
  return sql<DeniedDeliveries[]>`
    select subscription::float8 as subscription, lane_tables[1]::float8 as relation,
      to_json(columns) as columns
    from pgstream.webhook_deliveries
    where state = 'denied'
    group by subscription, lane_tables[1], webhook_deliveries.columns`;
}

/** Has them sent again, behind whatever has been sent meanwhile. */
export async function readmit(
  client: pg.Client,
  { subscription, relation, columns }: DeniedDeliveries,
): Promise<void> {
  await client.query(
    `update pgstream.webhook_deliveries d
     set state = 'pending', replayed = true
     where webhook_id in (
       select webhook_id from pgstream.webhook_deliveries
       where state = 'denied' and subscription = $1 and lane_tables[1] = $2
         and columns is not distinct from $3::text[]
       for update skip locked)`,
    [subscription, relation, columns],
  );
}
