/** Whom the HTTP server of the runner answers where it asks for no token: this machine, and no page. */
import { once } from 'node:events';
import net from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { startRunner, type Runner } from '../helpers/runner.js';

const token = 'a-token-of-the-test';
let database: TestDatabase;
let other: TestDatabase;
let runner: Runner;
let port: number;
let guardedPort: number;

beforeAll(async () => {
  [database, other] = await Promise.all([createDatabase(), createDatabase()]);
  const open = startServer(database.url);
  const guarded = startServer(other.url, { PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN: token });
  ({ runner, port } = await open);
  guardedPort = (await guarded).port;
});
afterAll(async () => {
  await Promise.all([database?.drop(), other?.drop()]);
});
beforeEach(async () => void (await database.sql`delete from pgstream.webhook_subscriptions`));

async function startServer(url: string, env: Record<string, string> = {}) {
  const started = startRunner(['run', '--init'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      ...env,
    },
  });
  const [, found] = await started.waitForLog(/"url":"http:\/\/127\.0\.0\.1:(\d+)"/);
  return { runner: started, port: Number(found) };
}

const body = JSON.stringify({ url: 'http://127.0.0.1:1/collect' });
const json = ['content-type: application/json', `content-length: ${body.length}`];

/** Sends a request as it stands. */
async function send(head: readonly string[], sent = '', to = port) {
  const socket = net.connect(to, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(`${[...head, 'connection: close'].join('\r\n')}\r\n\r\n${sent}`);
  const answer = await text(socket);
  const [first = ''] = answer.split('\r\n\r\n');
  const content = /^\{.*\}$/m.exec(answer)?.[0] ?? '';
  return { status: Number(first.split(' ')[1]), head: first, content };
}

const statusOf = async (...asked: Parameters<typeof send>) => (await send(...asked)).status;
const subscriptions = () => database.sql`select from pgstream.webhook_subscriptions`;

/** What a browser adds to what a page of this origin asks for. */
const browser = (origin: string, site: string, mode = 'cors') => [
  `origin: ${origin}`,
  `sec-fetch-site: ${site}`,
  `sec-fetch-mode: ${mode}`,
  'user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
];

test.each(['localhost', '127.0.0.1', '[::1]', 'LOCALHOST'])('%s is answered', async (name) => {
  expect(await statusOf(['GET /webhooks HTTP/1.1', `host: ${name}:${port}`])).toBe(200);
  expect(await statusOf(['GET /webhooks HTTP/1.1', `host: ${name}`])).toBe(200);
});

test('a program that speaks HTTP/1.0 without a name is answered', async () => {
  expect(await statusOf(['GET /webhooks HTTP/1.0'])).toBe(200);
});

test('a page that has its name resolve to this machine reads nothing and changes nothing', async () => {
  const [{ id }] = (await database.sql`
    insert into pgstream.webhook_subscriptions (url) values ('http://localhost/keep')
    returning id::integer`) as unknown as [{ id: number }];
  const host = `host: evil.example:${port}`;
  const page = browser(`http://evil.example:${port}`, 'same-origin');
  const paths = ['/webhooks', `/webhooks/${id}`, '/status', '/ready', '/health', '/metrics'];
  for (const path of [...paths, '/openapi.json', '/nothing']) {
    const { status, head, content } = await send([`GET ${path} HTTP/1.1`, host]);
    expect([path, status]).toEqual([path, 421]);
    expect(head).toMatch(/content-type: application\/json/i);
    expect(JSON.parse(content)).toEqual({
      message: `"evil.example:${port}" is not a name of this server`,
      hint: expect.stringContaining('PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN') as string,
    });
  }
  for (const path of ['/webhooks/subscribe', '/webhooks/unsubscribe']) {
    expect(await statusOf([`POST ${path} HTTP/1.1`, host, ...json, ...page], body)).toBe(421);
  }
  expect(await statusOf([`DELETE /webhooks/${id} HTTP/1.1`, host, ...page])).toBe(421);
  expect(await subscriptions()).toHaveLength(1);
});

test('a page of another origin is refused, whatever it sends, before it is asked for leave', async () => {
  const host = `host: localhost:${port}`;
  const plain = ['content-type: text/plain', `content-length: ${body.length}`];
  for (const origin of ['https://evil.example', 'null']) {
    const page = browser(origin, 'cross-site', 'no-cors');
    const subscribe = ['POST /webhooks/subscribe HTTP/1.1', host, ...page];
    expect(await statusOf([...subscribe, ...plain], body)).toBe(403);
    expect(await statusOf([...subscribe, ...json], body)).toBe(403);
    const asked = ['access-control-request-method: POST', ...page];
    const preflight = await send(['OPTIONS /webhooks/subscribe HTTP/1.1', host, ...asked]);
    expect(preflight.status).toBe(403);
    expect(preflight.head).not.toMatch(/access-control-allow/i);
    expect(await statusOf(['GET /webhooks HTTP/1.1', host, ...page])).toBe(403);
  }
  expect(await subscriptions()).toHaveLength(0);
});

test('a page of this machine is answered, and one on another port still asks for leave in vain', async () => {
  const host = `host: localhost:${port}`;
  const own = browser(`http://localhost:${port}`, 'same-origin');
  expect(await statusOf(['POST /webhooks/subscribe HTTP/1.1', host, ...json, ...own], body)).toBe(
    201,
  );
  const asked = [
    'access-control-request-method: DELETE',
    ...browser('http://[::1]:3000', 'cross-site'),
  ];
  const preflight = await send(['OPTIONS /webhooks/1 HTTP/1.1', host, ...asked]);
  expect(preflight.status).toBe(405);
  expect(preflight.head).not.toMatch(/access-control-allow/i);
});

test('no other place of a request makes a name of it', async () => {
  const get = 'GET /webhooks HTTP/1.1';
  const ours = `host: localhost:${port}`;
  expect(await statusOf([get, 'host: evil.example', ours])).not.toBe(200);
  expect(await statusOf([get, ours, 'host: evil.example'])).not.toBe(200);
  expect(await statusOf([get, 'host: evil.example', 'x-forwarded-host: localhost'])).toBe(421);
  expect(await statusOf([get, 'host: evil.example', 'forwarded: host=localhost'])).toBe(421);
  expect(await statusOf([get, ours, 'x-forwarded-host: evil.example'])).toBe(200);
  expect(await statusOf(['GET http://evil.example/webhooks HTTP/1.1', ours])).toBe(421);
  expect(await statusOf(['GET http://localhost/webhooks HTTP/1.1', 'host: evil.example'])).toBe(
    421,
  );
  expect(await statusOf([get, `host: localhost:${port}@evil.example`])).not.toBe(200);
  expect(await statusOf([get])).toBe(400);
});

test('the log tells of it once', async () => {
  await send(['GET /health HTTP/1.1', 'host: evil.example']);
  await send(['GET /health HTTP/1.1', 'host: evil.example']);
  const told = runner.stderr.split('\n').filter((line) => line.includes('of a web page'));
  expect(told).toHaveLength(1);
  expect(JSON.parse(told[0]!)).toMatchObject({ level: 'warn' });
});

test('with a token it is the token that counts, by whatever name the server is called', async () => {
  const get = ['GET /webhooks HTTP/1.1', 'host: pgstream.internal'];
  const page = browser('https://console.example', 'cross-site');
  const right = `authorization: Bearer ${token}`;
  expect(await statusOf([...get, ...page], '', guardedPort)).toBe(401);
  expect(await statusOf([...get, ...page, right], '', guardedPort)).toBe(200);
  expect(await statusOf(['GET /health HTTP/1.1', 'host: 10.0.0.7'], '', guardedPort)).toBe(200);
});
