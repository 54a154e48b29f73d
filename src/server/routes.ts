/** What the HTTP server of the runner answers. */
import { z } from 'zod';
import { exitCode, type PgstreamError } from '../errors.js';
import type { Report } from '../lease/row.js';
import { answered } from '../source/persist.js';
import { subscribeBody, toColumns, unsubscribeBody } from '../subscriptions/request.js';
import type { SubscriptionStore } from '../subscriptions/store.js';
import { createMetrics, type Measured } from './metrics.js';
import { describeApi } from './openapi.js';
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

/** The statements have limits of their own; this is for a server that does not keep them. */
const answerMs = 15_000;

const refused = 'The body is not as described, or SQL refuses what it says.';
const unknown = 'There is no subscription of this id.';
const away = 'The database of the subscriptions cannot be reached, or does not answer in time.';

export function createRoutes({ store, status, measure, explain }: RouteOptions): Route[] {
  const metrics = createMetrics(measure);
  /** The caller's mistake is a 400 with what SQL says of it; a store that is away a 503. */
  const withStore = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await answered(work(), answerMs);
    } catch (error) {
      const { code, message, hint, exitCode: exit } = explain(error);
      const isCallers = exit !== exitCode.cannotConnect && /^(22|23|0A|42501$|42622$)/.test(code);
      throw new HttpError(isCallers ? 400 : 503, message, hint ?? wayOut(code));
    }
  };

  const found = <T>(value: T | undefined, id: string): T => {
    if (value) return value;
    throw new HttpError(404, `there is no subscription ${id}`, 'GET /webhooks lists all.');
  };

  const routes: Route[] = [
    {
      method: 'POST',
      path: '/webhooks/subscribe',
      summary: 'Makes a subscription, or changes the one of this url, schema, table and name.',
      takes: subscribeBody,
      answers: { 201: 'The subscription.', 400: refused, 503: away },
      answer: async ({ body }) => {
        const request = toColumns(parse(subscribeBody, body));
        return { status: 201, body: await withStore(() => store.subscribe(request)) };
      },
    },
    {
      method: 'POST',
      path: '/webhooks/unsubscribe',
      summary: 'Deletes exactly the subscription of this url, schema, table and name.',
      takes: unsubscribeBody,
      answers: { 200: 'How many were deleted, 0 or 1.', 400: refused, 503: away },
      answer: async ({ body }) => {
        const key = toColumns(parse(unsubscribeBody, body));
        return { status: 200, body: { deleted: await withStore(() => store.unsubscribe(key)) } };
      },
    },
    {
      method: 'GET',
      path: '/webhooks',
      summary: 'All subscriptions.',
      answers: { 200: 'The subscriptions, in the order of their making.', 503: away },
      answer: async () => ({ status: 200, body: await withStore(() => store.list()) }),
    },
    {
      method: 'GET',
      path: '/webhooks/{id}',
      summary: 'A subscription.',
      answers: { 200: 'The subscription.', 404: unknown, 503: away },
      answer: async ({ id }) => {
        const row = found(await withStore(() => store.find(id)), id);
        return { status: 200, body: row };
      },
    },
    {
      method: 'DELETE',
      path: '/webhooks/{id}',
      summary: 'Deletes a subscription.',
      answers: { 200: 'It was deleted.', 404: unknown, 503: away },
      answer: async ({ id }) => {
        const deleted = found(await withStore(() => store.remove(id)), id);
        return { status: 200, body: { deleted } };
      },
    },
    {
      method: 'GET',
      path: '/health',
      open: true,
      summary: 'Whether the process answers.',
      answers: { 200: 'It does.' },
      answer: () => ({ status: 200, body: { status: 'ok' } }),
    },
    {
      method: 'GET',
      path: '/ready',
      open: true,
      summary: 'Whether this runner streams from the slot.',
      answers: { 200: 'It does.', 503: 'It does not; the body says why.' },
      answer: () => {
        const { state, problem } = status();
        return { status: state === 'streaming' ? 200 : 503, body: { state, problem } };
      },
    },
    {
      method: 'GET',
      path: '/status',
      summary: 'How the runner does.',
      answers: { 200: 'Its state and counts.' },
      answer: () => ({ status: 200, body: status() }),
    },
    {
      method: 'GET',
      path: '/metrics',
      summary: 'Metrics in the text format of Prometheus.',
      answers: { 200: 'The metrics.' },
      answer: async () => ({
        status: 200,
        body: await metrics.text(),
        contentType: metrics.contentType,
      }),
    },
    {
      method: 'GET',
      path: '/openapi.json',
      open: true,
      summary: 'This description.',
      answers: { 200: 'A document of OpenAPI 3.1.' },
      answer: () => ({ status: 200, body: describeApi(routes) }),
    },
  ];
  return routes;
}

/** What to do where the server gives no hint. */
function wayOut(code: string): string | undefined {
  if (code === 'no_answer') return 'Look whether it was done all the same, and try again.';
  if (code !== '55P03' && code !== '57014') return undefined;
  return (
    'Somebody has locked what this needs. Try again, or see who: select pid, mode from pg_locks ' +
    "where granted and relation = 'pgstream.webhook_subscriptions'::regclass;"
  );
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
