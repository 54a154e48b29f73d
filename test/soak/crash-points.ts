/** Where a runner is killed at exact points of its work: the list, and how each is brought about. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet } from './fleet.js';
import { between, type Random } from './random.js';

const dist = path.resolve(import.meta.dirname, '../../dist');

/** A public method of a class; `*` stands for each of them. */
interface Call {
  readonly module: string;
  readonly type: string;
  readonly method: string;
  readonly when: 'before' | 'after';
}

export interface CrashPoint {
  readonly place:
    | Call
    /** A diagnostics channel of the HTTP client. */
    | { readonly channel: string }
    /** An endpoint kills the runner whose request it has received, or answered. */
    | { readonly endpoint: 'received' | 'answered' };
  /** Which time that it comes by: a number in this range. */
  readonly nth: readonly [least: number, most: number];
  /** Reached only when the runner is asked to stop. */
  readonly stop?: true;
  /** Whether it may be that nothing leads there. */
  readonly optional?: true;
}

const around = (call: Omit<Call, 'when'>, rest: Omit<CrashPoint, 'place'>): CrashPoint[] =>
  (['before', 'after'] as const).map((when) => ({ place: { ...call, when }, ...rest }));

export const crashPoints: readonly CrashPoint[] = [
  ...around({ module: 'pipeline.js', type: 'Pipeline', method: 'take' }, { nth: [1, 300] }),
  ...around(
    { module: 'delivery/dispatcher.js', type: 'Dispatcher', method: 'deliver' },
    { nth: [1, 200] },
  ),
  ...around(
    { module: 'replication/progress.js', type: 'Progress', method: 'commit' },
    { nth: [1, 20] },
  ),
  { place: { channel: 'undici:client:sendHeaders' }, nth: [1, 200] },
  { place: { channel: 'undici:request:bodySent' }, nth: [1, 200] },
  { place: { endpoint: 'received' }, nth: [1, 200] },
  { place: { endpoint: 'answered' }, nth: [1, 200] },
  { place: { channel: 'undici:request:headers' }, nth: [1, 200] },
  { place: { channel: 'undici:request:trailers' }, nth: [1, 200] },
  ...around(
    { module: 'delivery/dispatcher.js', type: 'Dispatcher', method: 'drain' },
    { nth: [1, 1], stop: true },
  ),
  ...around(
    { module: 'replication/stream.js', type: 'Stream', method: 'close' },
    { nth: [1, 1], stop: true },
  ),
  ...around({ module: 'lease/lease.js', type: 'Lease', method: 'ready' }, { nth: [1, 1] }),
  ...around(
    { module: 'lease/lease.js', type: 'Lease', method: 'settle' },
    { nth: [1, 1], stop: true },
  ),
  ...around(
    { module: 'source/transactions.js', type: 'Transactions', method: 'run' },
    { nth: [1, 10] },
  ),
  ...around(
    { module: 'delivery/store.js', type: 'DeliveryStore', method: '*' },
    { nth: [1, 3], optional: true },
  ),
];

export type Outcome = 'passed' | 'not there' | 'not reached';

export interface PointResult {
  readonly point: string;
  readonly outcome: Outcome;
  /** Whether something has to be reached that was not. */
  readonly failed: boolean;
}

export function describe({ place }: CrashPoint): string {
  if ('channel' in place) return `at ${place.channel}`;
  if ('endpoint' in place) return `when an endpoint has ${place.endpoint} a request`;
  return `${place.when} ${place.type}.${place.method}`;
}

/** Runs into each point once; what is lost by it shows in the end. */
export async function runCrashPoints(
  fleet: Fleet,
  points: readonly CrashPoint[],
  random: Random,
): Promise<PointResult[]> {
  const results: PointResult[] = [];
  for (const listed of points) {
    const found = await expand(listed);
    if (found.length === 0) {
      results.push({ point: describe(listed), outcome: 'not there', failed: !listed.optional });
    }
    for (const point of found) {
      const reached = await runInto(fleet, point, between(random, point.nth));
      results.push({
        point: describe(point),
        outcome: reached ? 'passed' : 'not reached',
        failed: !reached && !point.optional,
      });
    }
  }
  return results;
}

/** The point for each method that it stands for; none where there is no such thing. */
async function expand(point: CrashPoint): Promise<CrashPoint[]> {
  const { place } = point;
  if (!('method' in place)) return [point];
  const file = path.join(dist, place.module);
  if (!existsSync(file)) return [];
  const exported = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  const type = exported[place.type];
  if (typeof type !== 'function') return [];
  const properties = Object.getOwnPropertyDescriptors(type.prototype as object);
  return Object.entries(properties)
    .filter(([name, { value }]) => name !== 'constructor' && typeof value === 'function')
    .filter(([name]) => place.method === '*' || place.method === name)
    .map(([method]) => ({ ...point, place: { ...place, method } }));
}

/** Whether the runner was killed there; a usual one runs again afterwards. */
async function runInto(fleet: Fleet, point: CrashPoint, nth: number): Promise<boolean> {
  await fleet.kill(fleet.current);
  const run = fleet.launch({ doomed: true, point: { place: point.place, nth } });
  fleet.promote(run);
  if ('endpoint' in point.place) killAt(fleet, run.number, point.place.endpoint, nth);
  const giveUp = new AbortController();
  const patience = delay(20_000, undefined, { signal: giveUp.signal }).catch(() => undefined);
  if (point.stop) {
    await run.runner.waitForLog(/"streaming"/, { timeout: 20_000 }).catch(() => undefined);
    process.kill(run.runner.pid, 'SIGTERM');
  }
  const exit = await Promise.race([run.runner.exited, patience]);
  giveUp.abort();
  fleet.observe = () => undefined;
  if (!exit) await fleet.kill(run);
  if (exit?.code === 1) throw new Error(`${describe(point)}: ${run.runner.stderr.slice(-1_000)}`);
  fleet.start();
  await fleet.streaming();
  return exit?.signal === 'SIGKILL' && !run.stuck;
}

function killAt(fleet: Fleet, number: number, moment: 'received' | 'answered', nth: number): void {
  let left = nth;
  fleet.observe = (happened, run) => {
    if (happened !== moment || run !== number || --left !== 0) return;
    process.kill(fleet.current.runner.pid, 'SIGKILL');
  };
}
