/** A webhook endpoint that keeps record of what it gets, and has trouble when it is told to. */
import { hash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../helpers/poll.js';
import { readEvent, readId, type Event, type Place } from './event.js';
import type { Trouble } from './plan.js';
import { pick, randomFor } from './random.js';

/** An event, and how it arrived for the first time. */
export interface First extends Event, Place {
  readonly id: string;
  readonly sha256: string;
  /** Whether it was answered 2xx, in whichever attempt. */
  accepted: boolean;
}

export interface Arrival {
  readonly first: First;
  /** Which run of a runner sent it. */
  readonly run: number;
  /** How often that had taken the slot: after another one has had it, a suffix may be repeated. */
  readonly tenure: number;
}

/** Told of each request when it has arrived, and when its answer has been written. */
export type Observer = (moment: 'received' | 'answered', run: number) => void;

export interface Endpoint {
  readonly name: string;
  readonly url: string;
  /** By webhook-id, in the order of first arrivals. */
  readonly firsts: ReadonlyMap<string, First>;
  /** In the order in which requests were complete. */
  readonly arrivals: readonly Arrival[];
  /** What no request may be, as sentences. */
  readonly offences: readonly string[];
  readonly accepted: number;
  trouble(what: Trouble | undefined): Promise<void>;
  close(): Promise<void>;
}

export async function startEndpoint(
  name: string,
  seed: number,
  observe: Observer,
): Promise<Endpoint> {
  const random = randomFor(seed, `answers of ${name}`);
  const firsts = new Map<string, First>();
  const arrivals: Arrival[] = [];
  const offences: string[] = [];
  let accepted = 0;
  let trouble: Trouble | undefined;

  function note({ headers }: http.IncomingMessage, body: Buffer): Arrival {
    const id = String(headers['webhook-id']);
    const sha256 = hash('sha256', body, 'base64');
    const timestamp = String(headers['webhook-timestamp']);
    if (!/^\d{10}$/.test(timestamp)) offences.push(`${id} came with the timestamp ${timestamp}`);
    let first = firsts.get(id);
    if (!first) {
      first = { id, sha256, accepted: false, ...readId(id), ...readEvent(body) };
      firsts.set(id, first);
    } else if (first.sha256 !== sha256) {
      offences.push(`${id} came again with other bytes: ${first.text}, then ${body.toString()}`);
    }
    const [run, tenure] = [Number(headers['x-soak-run']), Number(headers['x-soak-tenure'])];
    const arrival = { first, run, tenure };
    arrivals.push(arrival);
    return arrival;
  }

  async function serve(request: http.IncomingMessage, response: http.ServerResponse) {
    const body = await buffer(request);
    const { first, run } = note(request, body);
    observe('received', run);
    if (trouble === 'hangs') return;
    if (trouble === 'resets') return void request.socket.resetAndDestroy();
    if (trouble === 'is slow') await delay(50 + random(200));
    const status = trouble ? statusIn[trouble] : pick(random, usualStatus);
    if (status < 300 && !first.accepted) {
      first.accepted = true;
      accepted++;
    }
    response.on('finish', () => observe('answered', run));
    response.writeHead(status).end();
  }

  const server = http.createServer((request, response) => {
    // Runners are killed in the middle of requests.
    serve(request, response).catch((error: NodeJS.ErrnoException) => {
      if (!request.complete) return;
      offences.push(`a request cannot be read: ${error.message}`);
      response.destroy();
    });
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };

  return {
    name,
    url: `http://127.0.0.1:${port}/${name}`,
    firsts,
    arrivals,
    offences,
    get accepted() {
      return accepted;
    },
    async trouble(what) {
      trouble = what;
      if (what === 'refuses') await close();
      // A connection of somebody else may have got the port meanwhile.
      else if (!server.listening) await eventually(() => listen(port), { timeout: 60_000 });
      if (!what) server.closeAllConnections(); // those that hang
    },
    close,
  };
}

const statusIn: Readonly<Record<Trouble, number>> = {
  refuses: 503,
  fails: 500,
  'is busy': 429,
  hangs: 200,
  resets: 200,
  'is slow': 200,
};

/** Even a healthy endpoint fails once in a while. */
const usualStatus = [...Array.from({ length: 4_999 }, () => 200), 500];
