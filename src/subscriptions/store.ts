/** `pgstream.webhook_subscriptions`, as the HTTP server changes it. */
import type { Sql } from 'postgres';
import { arrayLiteral } from '../source/array-literal.js';
import type { SubscriptionKey, SubscriptionRequest } from './request.js';

/** A row, without headers and secrets, which may hold credentials. */
export type SubscriptionRow = Readonly<Record<string, unknown>>;

export interface SubscriptionStore {
  /** Makes a subscription, or gives an existing one new event types and what else is given. */
  subscribe(request: SubscriptionRequest): Promise<SubscriptionRow>;
  /** Deletes the subscription with exactly this key; returns how many there were, 0 or 1. */
  unsubscribe(key: SubscriptionKey): Promise<number>;
  list(): Promise<SubscriptionRow[]>;
  find(id: string): Promise<SubscriptionRow | undefined>;
  /** Deletes a subscription; returns how many there were, 0 or 1. */
  remove(id: string): Promise<number>;
}

const keyColumns = ['url', 'schema_name', 'table_name', 'name'];

/** `seal` makes of a secret what is stored of it. */
export function createSubscriptionStore(
  sql: Sql,
  seal: (secret: string, request: SubscriptionKey) => string,
): SubscriptionStore {
  const columns = () => sql`
    id::float8 as id, url, schema_name, table_name, name, to_json(event_types) as event_types,
    filter, payload, format, ordering, max_in_flight, batch_size, batch_wait::text, timeout::text,
    rate, retry_for::text, on_exhausted, spill_quota::float8 as spill_quota, on_quota,
    inject_metadata, resend_rewritten, enabled, disabled_reason, owner, created_at`;
  return {
    async subscribe(request) {
      const given = Object.entries(request).filter(([, value]) => value !== undefined);
      const updated = given.map(([column]) => column).filter((name) => !keyColumns.includes(name));
      const values = {
        ...Object.fromEntries(given),
        event_types: request.event_types && arrayLiteral(request.event_types),
        headers: sql.json(request.headers ?? {}),
        ...(request.secret && { secret: seal(request.secret, request) }),
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

    async find(id) {
      const [row] = await sql<SubscriptionRow[]>`
        select ${columns()} from pgstream.webhook_subscriptions where id::text = ${id}`;
      return row;
    },

    async remove(id) {
      const { count } = await sql`
        delete from pgstream.webhook_subscriptions where id::text = ${id}`;
      return count;
    },
  };
}
