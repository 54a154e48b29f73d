import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/embedded/start.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { eventually } from '../helpers/poll.js';
import { startRunner, type Runner } from '../helpers/runner.js';

const token = 'a-token-of-the-test';
let database: TestDatabase;
let runner: Runner;
let address: string;

beforeAll(async () => {
  database = await createDatabase();
  ({ runner, address } = await startServer(database.url));
});
afterAll(async () => {
  await runner?.kill();
  await database?.drop();
});
beforeEach(async () => void (await database.sql`delete from pgstream.webhook_subscriptions`));

async function startServer(url: string, env: Record<string, string> = {}) {
  const started = startRunner(['run', '--init'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      PGSTREAM_LOG_LEVEL: 'debug',
      ...env,
    },
  });
  const [, listening] = await started.waitForLog(/"url":"(http:[^"]+)"/, { timeout: 60_000 });
  await started.waitForLog(/"msg":"streaming"/, { timeout: 60_000 });
  return { runner: started, address: listening! };
}

interface Ask {
  method?: string;
  body?: unknown;
  /** Sent as it stands. */
  raw?: string;
  headers?: Record<string, string>;
  at?: string;
}

async function ask(path: string, { method = 'GET', body, raw, headers = {}, at }: Ask = {}) {
  const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetch(`${at ?? address}${path}`, {
    method,
    headers: { ...(sent !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(sent !== undefined && { body: sent }),
  });
  const answer = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: (answer ? JSON.parse(answer) : undefined) as Record<string, unknown>,
  };
}

const post = (path: string, body: unknown, more: Ask = {}) =>
  ask(path, { method: 'POST', body, ...more });

const url = 'http://localhost:9910/webhook';
const secret = `whsec_${randomBytes(32).toString('base64')}`;
const rows = () => database.sql`
  select url, schema_name, table_name, name, event_types, headers, max_in_flight,
         timeout::text, inject_metadata
  from pgstream.webhook_subscriptions order by url, schema_name, table_name, name`;

describe('POST /webhooks/subscribe', () => {
  test('makes the row that SQL would make, and answers 201 with it', async () => {
    const answer = await post('/webhooks/subscribe', { url, event_types: ['I'] });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(answer.body).toMatchObject({ url, schema_name: '', table_name: '', event_types: ['I'] });
    expect([...(await rows())]).toEqual([
      {
        url,
        schema_name: '',
        table_name: '',
        name: '',
        event_types: ['I'],
        headers: {},
        max_in_flight: null,
        timeout: null,
        inject_metadata: false,
      },
    ]);
  });

  test('takes every field, and keeps headers to itself', async () => {
    const answer = await post('/webhooks/subscribe', {
      url,
      schema: 'public',
      table: 'test',
      name: 'second',
      event_types: null,
      headers: { authorization: 'Bearer secret' },
      max_in_flight: 2,
      timeout: '500 ms',
      inject_metadata: true,
      secret,
      ordering: 'strict',
      batch_size: 10,
      batch_wait: '20 ms',
      rate: 5,
      retry_for: '1 hour',
      on_exhausted: 'block',
      spill_quota: 1000,
      on_quota: 'disable',
      enabled: false,
    });
    expect(answer).toMatchObject({
      status: 201,
      body: {
        ordering: 'strict',
        batch_size: 10,
        batch_wait: '00:00:00.02',
        rate: 5,
        retry_for: '01:00:00',
        on_exhausted: 'block',
        spill_quota: 1000,
        on_quota: 'disable',
        enabled: false,
      },
    });
    expect(JSON.stringify(answer.body)).not.toContain(secret);
    expect(JSON.stringify(answer.body)).not.toContain('secret');
    expect(await rows()).toMatchObject([
      {
        schema_name: 'public',
        table_name: 'test',
        name: 'second',
        event_types: null,
        headers: { authorization: 'Bearer secret' },
        max_in_flight: 2,
        timeout: '00:00:00.5',
        inject_metadata: true,
      },
    ]);
    expect(JSON.stringify((await ask('/webhooks')).body)).not.toContain('secret');
    expect(runner.stderr).not.toContain('Bearer secret');
  });

  test('again changes the event types and what else is given, and nothing more', async () => {
    await post('/webhooks/subscribe', {
      url,
      event_types: ['I'],
      max_in_flight: 2,
      headers: { a: 'b' },
    });
    const again = await post('/webhooks/subscribe', { url, event_types: ['D'], timeout: '2 s' });
    expect(again.status).toBe(201);
    expect(await rows()).toMatchObject([
      { event_types: ['D'], max_in_flight: 2, headers: { a: 'b' }, timeout: '00:00:02' },
    ]);
    await post('/webhooks/subscribe', { url });
    expect(await rows()).toMatchObject([{ event_types: null, max_in_flight: 2 }]);
  });

  test.each([
    ['no url', { schema: 'public' }, /url/],
    ['an unknown key', { url, tabel: 'test' }, /tabel/],
    ['a value of the wrong type', { url, event_types: 'I' }, /event_types/],
    ['a fraction', { url, max_in_flight: 1.5 }, /max_in_flight/],
    ['no object', ['a'], /object/],
    ['a bad url', { url: 'localhost:9910' }, /url/],
    ['an unknown event type', { url, event_types: ['X'] }, /unknown event type "X"/],
    ['a bad header', { url, headers: { a: 'b\r\nc: d' } }, /header/],
    ['a bad timeout', { url, timeout: 'soon' }, /interval/],
    ['a timeout out of range', { url, timeout: '1 ms' }, /timeout_is_between_10ms_and_1h/],
    ['a system schema', { url, schema: 'pg_catalog', table: 'pg_class' }, /pg_catalog/],
    ['a NUL', { url: 'http://localhost/\u0000' }, /./],
  ])('answers 400 to %s, and changes nothing', async (_, body, message) => {
    const answer = await post('/webhooks/subscribe', body);
    expect(answer).toMatchObject({
      status: 400,
      body: { message: expect.stringMatching(message) },
    });
    expect(JSON.stringify(answer.body)).not.toMatch(/\.[jt]s:\d|node_modules/);
    expect(await rows()).toHaveLength(0);
  });

  test.each([
    ['broken JSON', '{"url": ', { 'content-type': 'application/json' }],
    ['nothing', '', { 'content-type': 'application/json' }],
    ['a form', 'url=x', { 'content-type': 'application/x-www-form-urlencoded' }],
  ])('answers 400 to %s', async (_, raw, headers) => {
    const answer = await ask('/webhooks/subscribe', { method: 'POST', raw, headers });
    expect(answer).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('JSON') },
    });
  });

  test('answers 413 to a body over 64 KiB, and goes on', async () => {
    const answer = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' };
      const request = http.request(`${address}/webhooks/subscribe`, { method: 'POST', headers });
      request.on('response', (response) => {
        void text(response).then(() => resolve(response.statusCode), reject);
      });
      request.on('error', reject);
      request.end(JSON.stringify({ url: `http://localhost/${'x'.repeat(70_000)}` }));
    });
    expect(answer).toBe(413);
    expect((await ask('/health')).status).toBe(200);
  });
});

test('a change that is refused does not tell the headers that stand there', async () => {
  await post('/webhooks/subscribe', { url, headers: { authorization: 'MARK-4711' }, secret });
  for (const wrong of [{ timeout: '1 ms' }, { max_in_flight: 0 }, { rate: -1 }]) {
    const answer = await post('/webhooks/subscribe', { url, ...wrong });
    expect(answer).toMatchObject({
      status: 400,
      body: { message: expect.stringMatching(/violates check constraint/) },
    });
    expect(JSON.stringify(answer.body)).not.toMatch(/MARK-4711|whsec/);
  }
  expect(runner.stderr).not.toContain('MARK-4711');
});

describe('while somebody has locked the subscriptions', () => {
  test('each request is answered 503, with what to do, and the events go on', async () => {
    const { sql } = database;
    const { body: made } = await post('/webhooks/subscribe', { url });
    const locker = await sql.reserve();
    try {
      await locker`begin`;
      await locker`lock table pgstream.webhook_subscriptions in access exclusive mode`;
      const at = `/webhooks/${String(made['id'])}`;
      const answers = await Promise.all([
        ...Array.from({ length: 6 }, () => ask('/webhooks')),
        ask(at),
        ask(at, { method: 'DELETE' }),
        post('/webhooks/subscribe', { url, name: 'more' }),
        post('/webhooks/unsubscribe', { url }),
      ]);
      for (const answer of answers) {
        expect(answer).toMatchObject({
          status: 503,
          body: {
            message: expect.stringMatching(/lock timeout|not answered/),
            hint: expect.any(String),
          },
        });
      }
      expect(answers[0]!.body['hint']).toContain('pg_locks');
      expect((await ask('/ready')).status).toBe(200);
    } finally {
      await locker`rollback`;
      locker.release();
    }
    await eventually(async () => expect((await ask('/webhooks')).status).toBe(200));
    expect(await rows()).toHaveLength(1);
  });
});

describe('POST /webhooks/unsubscribe', () => {
  test('deletes exactly the row of this url, schema, table and name', async () => {
    const exact = { url, schema: 'public', table: 'test' };
    for (const row of [exact, { ...exact, name: 'n' }, { url }, { ...exact, table: '' }]) {
      await post('/webhooks/subscribe', row);
    }
    const answer = await post('/webhooks/unsubscribe', { ...exact, event_types: ['I'] });
    expect(answer).toMatchObject({ status: 200, body: { deleted: 1 } });
    expect(await rows()).toHaveLength(3);
    const again = await post('/webhooks/unsubscribe', exact);
    expect(again).toMatchObject({ status: 200, body: { deleted: 0 } });
  });

  test('answers 400 to an unknown key', async () => {
    expect((await post('/webhooks/unsubscribe', { url, tabel: 'x' })).status).toBe(400);
  });
});

test('GET /webhooks lists the subscriptions in the order of their making', async () => {
  expect((await ask('/webhooks')).body).toEqual([]);
  await post('/webhooks/subscribe', { url, name: 'b' });
  await post('/webhooks/subscribe', { url, name: 'a' });
  const { status, body } = await ask('/webhooks');
  expect(status).toBe(200);
  expect(body).toMatchObject([{ name: 'b', id: expect.any(Number) }, { name: 'a' }]);
});

describe('/webhooks/{id}', () => {
  test('GET shows one subscription, and DELETE ends it', async () => {
    const { body: made } = await post('/webhooks/subscribe', { url, headers: { a: 'secret' } });
    await post('/webhooks/subscribe', { url, name: 'other' });
    const at = `/webhooks/${String(made['id'])}`;
    expect(await ask(at)).toMatchObject({ status: 200, body: made });
    expect(await ask(at, { method: 'DELETE' })).toMatchObject({
      status: 200,
      body: { deleted: 1 },
    });
    expect((await ask(at)).status).toBe(404);
    expect((await ask(at, { method: 'DELETE' })).status).toBe(404);
    expect(await rows()).toMatchObject([{ name: 'other' }]);
  });

  test.each(['0', 'x', '%00', "1'", '1 or true', '99999999999999999999'])(
    'is a 404 for %s',
    async (id) => {
      expect(await ask(`/webhooks/${id}`)).toMatchObject({
        status: 404,
        body: { message: expect.stringContaining('subscription') },
      });
    },
  );
});

test('GET /openapi.json describes all that is answered, with what a subscription may say', async () => {
  const { status, body } = await ask('/openapi.json');
  expect(status).toBe(200);
  expect(body).toMatchObject({ openapi: '3.1.0', info: { title: 'pgstream' } });
  const paths = body['paths'] as Record<string, Record<string, Record<string, unknown>>>;
  for (const [path, methods] of Object.entries(paths)) {
    const answer = await ask(path.replace('{id}', '0'), { method: 'OPTIONS' });
    expect(answer.status).toBe(405);
    const allowed = answer.headers.get('allow')!.toLowerCase().split(', ');
    expect(Object.keys(methods)).toEqual(allowed);
  }
  const schema = paths['/webhooks/subscribe']!['post']!['requestBody'];
  const columns = await database.sql`
    select column_name::text as name from information_schema.columns
    where table_schema = 'pgstream' and table_name = 'webhook_subscriptions'`;
  const settable = columns
    .map(({ name }) => String(name).replace(/^(schema|table)_name$/, '$1'))
    .filter(
      (name) =>
        ![
          'id',
          'owner',
          'created_at',
          'disabled_reason',
          'store_id',
          'store_secret',
          'program',
          'invalid_reason',
        ].includes(name),
    );
  expect(schema).toMatchObject({
    required: true,
    content: { 'application/json': { schema: { required: ['url'] } } },
  });
  const { properties } = (schema as { content: Record<string, { schema: { properties: object } }> })
    .content['application/json']!.schema;
  expect(Object.keys(properties).sort()).toEqual(settable.sort());
});

test('health, readiness and status tell how the runner does', async () => {
  expect(await ask('/health')).toMatchObject({ status: 200, body: { status: 'ok' } });
  expect(await ask('/ready')).toMatchObject({ status: 200, body: { state: 'streaming' } });
  expect(await ask('/status?verbose')).toMatchObject({
    status: 200,
    body: { state: 'streaming', slot: `pgstream_${database.name}_slot`, inMemory: 0 },
  });
});

test('the metrics are those that Prometheus reads', async () => {
  const response = await fetch(`${address}/metrics`);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0.0.4/);
  const lines = (await response.text()).split('\n');
  expect(lines).toContain('pgstream_state{state="streaming"} 1');
  expect(lines).toContain('pgstream_holding 0');
  expect(lines).toContain('# TYPE pgstream_events_delivered_total counter');
});

test.each([
  ['GET', '/webhooks/subscribe', 405, 'POST'],
  ['DELETE', '/webhooks', 405, 'GET'],
  ['POST', '/webhooks/1', 405, 'GET, DELETE'],
  ['GET', '/webhooks/1/2', 404, null],
  ['GET', '/webhooks/', 404, null],
  ['POST', '/health', 405, 'GET'],
  ['GET', '/', 404, null],
  ['POST', '/webhooks/subscribe/', 404, null],
])('%s %s is a %i', async (method, path, status, allow) => {
  const answer = await ask(path, { method });
  expect(answer.status).toBe(status);
  expect(answer.headers.get('allow')).toBe(allow);
});

test('a token is asked for everywhere but for health and readiness', async () => {
  const other = await createDatabase();
  const guarded = await startServer(other.url, {
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN: token,
  });
  const at = guarded.address;
  const status = async (path: string, authorization?: string, method = 'GET') =>
    (await ask(path, { at, method, headers: authorization ? { authorization } : {} })).status;

  for (const path of ['/webhooks', '/status']) {
    expect(await status(path)).toBe(401);
    expect(await status(path, `Bearer ${token}x`)).toBe(401);
    expect(await status(path, `Basic ${btoa(`user:${token}`)}`)).toBe(401);
    expect(await status(path, `Bearer ${token}`)).toBe(200);
  }
  expect(await status('/webhooks/subscribe', undefined, 'POST')).toBe(401);
  expect((await post('/webhooks/subscribe', { url }, { at })).body).toMatchObject({
    hint: expect.stringContaining('Bearer'),
  });
  expect(await status('/health')).toBe(200);
  expect(await status('/ready')).toBe(200);
  expect(guarded.runner.stderr).not.toContain(token);
  await guarded.runner.kill();
  await other.drop();
});

test('while the database is stopped the server answers 503, and recovers', async () => {
  const postgres = await startPostgres();
  onTestFinished(() => postgres.stop('immediate'));
  const { address: at } = await startServer(postgres.url);
  await postgres.crash();
  await eventually(async () => {
    expect(await ask('/ready', { at })).toMatchObject({
      status: 503,
      body: { state: 'reconnecting' },
    });
  });
  expect((await ask('/health', { at })).status).toBe(200);
  expect((await ask('/status', { at })).status).toBe(200);
  expect(await ask('/webhooks', { at })).toMatchObject({
    status: 503,
    body: { message: expect.stringMatching(/cannot connect|lost the connection/) },
  });
  expect((await post('/webhooks/subscribe', { url }, { at })).status).toBe(503);
  expect((await post('/webhooks/subscribe', { url: 1 }, { at })).status).toBe(400);
  await postgres.restart();
  await eventually(async () => expect((await ask('/ready', { at })).status).toBe(200), {
    timeout: 30_000,
  });
  expect((await post('/webhooks/subscribe', { url }, { at })).status).toBe(201);
});
