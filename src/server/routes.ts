/** What the HTTP server of the runner answers. */
import { z } from 'zod';
import { exitCode, type PgstreamError } from '../errors.js';
import type { Report } from '../lease/row.js';
import type { SubscriptionStore } from '../subscriptions/store.js';
import { createMetrics, type Measured } from './metrics.js';
import { HttpError, type Route } from './server.js';

export interface RunnerStatus {
  /** `streaming`, or what keeps the runner from it. */
  readonly state: Report['state'];
  readonly [detail: string]: unknown;
}

export interface RouteOptions {
  readonly store: SubscriptionStore;
  readonly status: () => RunnerStatus;
  readonly measure: () => Measured;
  readonly explain: (error: unknown) => PgstreamError;
}

const key = {
  url: z.string(),
  schema: z.string().default(''),
  table: z.string().default(''),
  name: z.string().default(''),
};
const subscribeBody = z.strictObject({
  ...key,
  event_types: z.array(z.string()).nullable().default(null),
  headers: z.record(z.string(), z.string()).optional(),
  max_in_flight: z.int().nullable().optional(),
  timeout: z.string().nullable().optional(),
  inject_metadata: z.boolean().optional(),
});
const unsubscribeBody = z.strictObject({ ...key, event_types: z.unknown().optional() });

export function createRoutes({ store, status, measure, explain }: RouteOptions): Route[] {
  const metrics = createMetrics(measure);
  /** The caller's mistake is a 400 with what SQL says of it; a store that is away a 503. */
  const withStore = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      const { code, message, hint, exitCode: exit } = explain(error);
      const isCallers = exit !== exitCode.cannotConnect && /^(22|23|0A|42501$|42622$)/.test(code);
      throw new HttpError(isCallers ? 400 : 503, message, hint);
    }
  };

  return [
    {
      method: 'POST',
      path: '/webhooks/subscribe',
      answer: async (body) => {
        const { schema, table, ...rest } = parse(subscribeBody, body);
        const request = { ...rest, schema_name: schema, table_name: table };
        return { status: 201, body: await withStore(() => store.subscribe(request)) };
      },
    },
    {
      method: 'POST',
      path: '/webhooks/unsubscribe',
      answer: async (body) => {
        const { url, schema, table, name } = parse(unsubscribeBody, body);
        const row = { url, schema_name: schema, table_name: table, name };
        return { status: 200, body: { deleted: await withStore(() => store.unsubscribe(row)) } };
      },
    },
    {
      method: 'GET',
      path: '/webhooks',
      answer: async () => ({ status: 200, body: await withStore(() => store.list()) }),
    },
    {
      method: 'GET',
      path: '/health',
      open: true,
      answer: () => ({ status: 200, body: { status: 'ok' } }),
    },
    {
      method: 'GET',
      path: '/ready',
      open: true,
      answer: () => {
        const { state, problem } = status();
        return { status: state === 'streaming' ? 200 : 503, body: { state, problem } };
      },
    },
    { method: 'GET', path: '/status', answer: () => ({ status: 200, body: status() }) },
    {
      method: 'GET',
      path: '/metrics',
      answer: async () => ({
        status: 200,
        body: await metrics.text(),
        contentType: metrics.contentType,
      }),
    },
  ];
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  throw new HttpError(
    400,
    problems.join('; '),
    'Send {"url": …, "schema": …, "table": …, "event_types": […]}; all but the url may be left out.',
  );
}
