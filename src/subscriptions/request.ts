/** What a client of the HTTP server may say of a subscription. What is valid, SQL decides. */
import { z } from 'zod';

const key = {
  url: z.string().describe('Where events are posted to; http or https.'),
  schema: z.string().default('').describe('A schema; * and ? are wildcards, empty is any.'),
  table: z.string().default('').describe('A table; * and ? are wildcards, empty is any.'),
  name: z.string().default('').describe('Tells subscriptions of one url to one table apart.'),
};

const interval = z.string().describe('An interval as Postgres reads it, such as "500 ms".');

export const subscribeBody = z
  .strictObject({
    ...key,
    event_types: z
      .array(z.string())
      .nullable()
      .default(null)
      .describe('I, U, D, T, or types of business events; null is all of I, U, D and T.'),
    filter: z.string().nullish().describe('A boolean SQL expression over new, old and op.'),
    payload: z.string().nullish().describe('A SQL expression that yields the jsonb to send.'),
    format: z
      .string()
      .optional()
      .describe('pgstream, standard, cloudevents, cloudevents_binary or debezium.'),
    headers: z
      .record(z.string(), z.string())
      .optional()
      .describe('Sent with each request; never shown again.'),
    secret: z
      .string()
      .nullish()
      .describe('Secrets of Standard Webhooks, separated by spaces; never shown again.'),
    ordering: z.string().optional().describe('key, strict or none.'),
    max_in_flight: z.int().nullish().describe('Requests at a time.'),
    batch_size: z.int().optional().describe('Above 1: so many events in one request at most.'),
    batch_wait: interval.optional(),
    timeout: interval.nullish(),
    rate: z.int().nullish().describe('Requests a second at most.'),
    retry_for: interval.optional(),
    on_exhausted: z.string().optional().describe('dead_letter or block.'),
    spill_quota: z.int().optional().describe('Bytes that may wait in the database.'),
    on_quota: z.string().optional().describe('hold, disable or drop_oldest.'),
    inject_metadata: z.boolean().optional().describe('Whether ids of the schema log are sent.'),
    resend_rewritten: z
      .boolean()
      .optional()
      .describe('Whether rows come again after an ALTER TABLE that has changed them.'),
    enabled: z.boolean().optional().describe('Whether events are sent; if not, they are kept.'),
  })
  .meta({ title: 'Subscription' });

export const unsubscribeBody = z
  .strictObject({ ...key, event_types: z.unknown().optional().describe('Not looked at.') })
  .meta({ title: 'Subscription key' });

type Renamed<T extends { schema: string; table: string }> = Omit<T, 'schema' | 'table'> & {
  readonly schema_name: string;
  readonly table_name: string;
};

/** The columns that are given; what is left out takes the column's default. */
export type SubscriptionRequest = Readonly<Renamed<z.output<typeof subscribeBody>>>;

export type SubscriptionKey = Pick<
  SubscriptionRequest,
  'url' | 'schema_name' | 'table_name' | 'name'
>;

/** The same under the names of the columns. */
export const toColumns = <T extends { schema: string; table: string }>({
  schema,
  table,
  ...rest
}: T): Renamed<T> => ({ ...rest, schema_name: schema, table_name: table });
