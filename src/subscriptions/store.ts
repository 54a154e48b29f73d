/** `pgstream.webhook_subscriptions`, as the HTTP server changes it. What is valid, SQL decides. */
import type { Sql } from 'postgres';
import { arrayLiteral } from '../source/array-literal.js';

/** The columns that may be given; what is left out takes the column's default. */
export interface SubscriptionRequest {
  readonly url: string;
  readonly schema_name: string;
  readonly table_name: string;
  readonly name: string;
  readonly event_types: readonly string[] | null;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly max_in_flight?: number | null | undefined;
  readonly timeout?: string | null | undefined;
  readonly inject_metadata?: boolean | undefined;
}

export type SubscriptionKey = Pick<
  SubscriptionRequest,
  'url' | 'schema_name' | 'table_name' | 'name'
>;

/** A row; headers are left out, since they may hold credentials. */
export type SubscriptionRow = Readonly<Record<string, unknown>>;

export interface SubscriptionStore {
  /** Makes a subscription, or gives an existing one new event types and what else is given. */
  subscribe(request: SubscriptionRequest): Promise<SubscriptionRow>;
  /** Deletes the subscription with exactly this key; returns how many there were, 0 or 1. */
  unsubscribe(key: SubscriptionKey): Promise<number>;
  list(): Promise<SubscriptionRow[]>;
}

export function createSubscriptionStore(sql: Sql): SubscriptionStore {
  const columns = () => sql`
    id::float8 as id, url, schema_name, table_name, to_json(event_types) as event_types, name,
    max_in_flight, timeout, inject_metadata, created_at`;
  return {
    async subscribe(request) {
      const given = Object.fromEntries(
        Object.entries(request).filter(([, value]) => value !== undefined),
      );
      const updated = Object.keys(given).filter(
        (name) => !['url', 'schema_name', 'table_name', 'name'].includes(name),
      );
      const values = {
        ...given,
        event_types: request.event_types && arrayLiteral(request.event_types),
        headers: sql.json(request.headers ?? {}),
      };
      const [row] = await sql<SubscriptionRow[]>`
        insert into pgstream.webhook_subscriptions ${sql(values)}
        on conflict on constraint subscribed_already_use_on_conflict_do_update
        do update set ${updated.map(
          (name, i) => sql`${i > 0 ? sql`, ` : sql``}${sql(name)} = excluded.${sql(name)}`,
        )}
        returning ${columns()}`;
      return row!;
    },

    async unsubscribe(key) {
      const { count } = await sql`
        delete from pgstream.webhook_subscriptions
        where url = ${key.url} and schema_name = ${key.schema_name}
          and table_name = ${key.table_name} and name = ${key.name}`;
      return count;
    },

    async list() {
      return sql<SubscriptionRow[]>`
        select ${columns()} from pgstream.webhook_subscriptions order by id`;
    },
  };
}
