/** The HTTP server of the runner: who may ask, how much they may send, what an error looks like. */
import { createHash, timingSafeEqual } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { z } from 'zod';
import { PgstreamError } from '../errors.js';
import type { Log } from '../log.js';
import type { Settings } from '../settings/settings.js';
import { refusalOf } from './visitor.js';

export interface Reply {
  readonly status: number;
  /** Sent as JSON, or as it is where `contentType` says what it is. */
  readonly body: unknown;
  readonly contentType?: string;
}

/** Answers one method of one path. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** `{id}` stands for one segment. */
  readonly path: string;
  /** Answered without a token too. */
  readonly open?: boolean;
  /** What the description says: what it does, what it is sent, and what its statuses mean. */
  readonly summary: string;
  readonly takes?: z.ZodType;
  readonly answers: Readonly<Record<number, string>>;
  /** `body` is the parsed JSON of a POST, `id` what stands for `{id}`. */
  readonly answer: (asked: { body: unknown; id: string }) => Reply | Promise<Reply>;
}

export interface RunningServer {
  readonly url: string;
  close(): Promise<void>;
}

const mostBodyBytes = 64 * 1024;

/** Starts listening. Rejects with a PgstreamError when the address cannot be had. */
export async function startServer(
  { address, readTimeout, writeTimeout, token }: Settings['server'],
  routes: readonly Route[],
  log: Log,
): Promise<RunningServer> {
  const admit = token === undefined ? guard(address, log) : () => undefined;
  const server = http.createServer({ requestTimeout: readTimeout }, (request, response) => {
    handle(request, routes, token, admit)
      .catch((error: unknown) => replyTo(error, log))
      .then(({ status, body, contentType }) => {
        log.debug({ method: request.method, path: request.url, status }, 'request answered');
        response.setTimeout(writeTimeout, () => response.destroy());
        if (status === 405) response.setHeader('allow', methodsOf(routes, request.url));
        response.writeHead(status, { 'content-type': contentType ?? 'application/json' });
        response.end(contentType ? body : `${JSON.stringify(body)}\n`);
      })
      .catch((error: unknown) => {
        log.error({ err: error }, 'request not answered');
        response.destroy();
      });
  });
  await listen(server, address);
  const { address: host, port } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** An error whose message may be told to whoever asked. */
export class HttpError extends Error {
  readonly status: number;
  readonly hint: string | undefined;

  constructor(status: number, message: string, hint?: string) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** Refuses whom this server is not for where it asks for no token; the log tells of it once. */
function guard(
  { host = 'localhost' }: Settings['server']['address'],
  log: Log,
): (request: http.IncomingMessage) => void {
  let isTold = false;
  return ({ headersDistinct, url = '/' }) => {
    const { host: hosts = [], origin: origins = [] } = headersDistinct;
    const refusal = refusalOf({ hosts, origins, target: url }, host);
    if (!refusal) return;
    if (!isTold)
      log.warn({ reason: refusal.message }, 'refused a request that may be of a web page');
    isTold = true;
    throw new HttpError(refusal.status, refusal.message, strangerHint);
  };
}

const strangerHint =
  'Without a token only this machine is answered, as localhost, 127.0.0.1 or [::1]. For other ' +
  'names set PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN.';

async function handle(
  request: http.IncomingMessage,
  routes: readonly Route[],
  token: string | undefined,
  admit: (request: http.IncomingMessage) => void,
): Promise<Reply> {
  admit(request);
  const known = routesTo(routes, request.url);
  if (known.length === 0) throw new HttpError(404, 'Not Found');
  const { route, id } = known.find(({ route: { method } }) => method === request.method) ?? {};
  if (!route) throw new HttpError(405, 'Method Not Allowed');
  if (token !== undefined && !route.open && !isAuthorized(request, token)) {
    throw new HttpError(401, 'Unauthorized', 'Send the header "authorization: Bearer <token>".');
  }
  const body = route.method === 'POST' ? await readJson(request) : undefined;
  return route.answer({ body, id: id ?? '' });
}

function isAuthorized(request: http.IncomingMessage, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(request.headers.authorization ?? ''), digest(`Bearer ${token}`));
}

async function readJson(request: http.IncomingMessage): Promise<unknown> {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new HttpError(400, 'the body is not JSON', 'Send "content-type: application/json".');
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > mostBodyBytes) throw new HttpError(413, `the body is over ${mostBodyBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw new HttpError(400, `the body is not JSON: ${(error as Error).message}`);
  }
}

function replyTo(error: unknown, log: Log): Reply {
  if (error instanceof HttpError) {
    return { status: error.status, body: { message: error.message, hint: error.hint } };
  }
  log.error({ err: error }, 'a request failed');
  return { status: 500, body: { message: 'Internal Server Error' } };
}

/** The routes of a URL's path, each with what stands there for `{id}`. */
function routesTo(routes: readonly Route[], url = '/'): { route: Route; id: string | undefined }[] {
  const path = url.split('?')[0]!;
  const exact = routes.filter((route) => route.path === path);
  if (exact.length > 0) return exact.map((route) => ({ route, id: undefined }));
  const last = path.lastIndexOf('/') + 1;
  const id = path.slice(last);
  const pattern = `${path.slice(0, last)}{id}`;
  return routes.filter((route) => id && route.path === pattern).map((route) => ({ route, id }));
}

const methodsOf = (routes: readonly Route[], url: string | undefined) =>
  routesTo(routes, url)
    .map(({ route }) => route.method)
    .join(', ');

function listen(server: http.Server, { host, port }: Settings['server']['address']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = `${host ?? ''}:${port}`;
      reject(
        new PgstreamError(
          error.code ?? 'listen',
          error.code === 'EADDRINUSE'
            ? `the address ${where} of the subscription server is in use`
            : `the subscription server cannot listen on ${where}: ${error.message}`,
          {
            hint:
              'Set PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS to another one, such as ' +
              '127.0.0.1:9901.',
            cause: error,
          },
        ),
      );
    });
    server.listen({ port, ...(host !== undefined && { host }) }, resolve);
  });
}
