/**
 * Writes to a database of its own for a while, with endpoints that have trouble, and kills whatever
 * can be killed. Then everything that was committed has to be there, in order and nothing else.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { startPostgres } from '../../src/embedded/start.js';
import { audit, readLog } from './audit.js';
import { check, expectedOf } from './checker.js';
import { runCrashPoints, type CrashPoint } from './crash-points.js';
import { createDatabase, type Database, type Truth } from './database.js';
import { startEndpoint, type Endpoint } from './endpoint.js';
import { runFaults, runSpells, walSenderTimeoutMs } from './faults.js';
import { Fleet } from './fleet.js';
import { startGauges } from './gauges.js';
import { planFaults, type Faults } from './plan.js';
import { randomFor } from './random.js';
import type { Report } from './report.js';
import { wanted, type Wanted } from './tables.js';
import { startWriters } from './writers.js';

export interface SoakOptions {
  readonly seed: number;
  readonly faults: Faults;
  /** The longest time between two of them. */
  readonly mostMs: number;
  readonly points: readonly CrashPoint[];
  /** Changes a second. */
  readonly rate: number;
  /** So many changes may be on their way; then writers wait. */
  readonly mostBehind: number;
  /** Writing goes on at least until there have been so many changes. */
  readonly changes: number;
  readonly report?: (text: string) => void;
}

/** Longer than any pause that a runner makes after spells as short as ours. */
const patienceMs = 60_000;

interface Subscribed extends Wanted {
  readonly endpoint: Endpoint;
  readonly id: number;
}

type CleanUp = (work: () => unknown) => void;

export async function soak(options: SoakOptions): Promise<Report> {
  const last: (() => unknown)[] = [];
  try {
    return await run(options, (work) => last.unshift(work));
  } finally {
    for (const work of last) await work();
  }
}

async function run(options: SoakOptions, cleanUp: CleanUp): Promise<Report> {
  const begun = performance.now();
  const { seed, rate, report = () => undefined } = options;
  const server = await startPostgres({
    settings: { wal_sender_timeout: walSenderTimeoutMs, deadlock_timeout: '50ms' },
  });
  cleanUp(() => server.stop('immediate'));
  const database = await createDatabase(server.url);
  cleanUp(() => database.close());
  const fleet = new Fleet(database.url);
  cleanUp(() => fleet.close());
  const subscribed: Subscribed[] = [];
  for (const each of wanted) {
    const endpoint = await startEndpoint(each.name, seed, (...told) => fleet.observe(...told));
    cleanUp(() => endpoint.close());
    subscribed.push({ ...each, endpoint, id: await database.subscribe(each, endpoint) });
  }
  const everything = subscribed[0]!.endpoint;

  fleet.start();
  const gauges = startGauges(database, fleet);
  cleanUp(() => gauges.stop());
  const writers = startWriters({
    url: database.url,
    seed,
    writers: 4,
    rate,
    mostBehind: options.mostBehind,
    arrived: () => everything.firsts.size,
  });
  cleanUp(() => writers.stop().catch(() => undefined));
  const spelling = new AbortController();
  cleanUp(() => spelling.abort());
  const spells = Promise.all(
    subscribed
      .filter(({ troubled }) => troubled)
      .map(({ endpoint }) => runSpells(endpoint, seed, spelling.signal)),
  );

  const trials = async () => {
    const plan = planFaults(seed, options.faults, options.mostMs);
    const crashes = await runFaults({ server, database, fleet }, plan, report);
    report('crash points');
    const points = await runCrashPoints(fleet, options.points, randomFor(seed, 'points'));
    while (writers.committed < options.changes) await delay(100);
    return { crashes, points };
  };
  const { crashes, points } = await Promise.race([trials(), writers.failed]);
  spelling.abort();
  await Promise.all([writers.stop(), spells]);
  report('waiting for the rest');
  const truth = await database.truth();
  await arrivalOfAll(database, subscribed, truth);
  await fleet.stop(fleet.current);
  await gauges.stop();
  report('comparing');

  const log = await readLog(database.captured());
  const offences = [
    ...fleet.offences,
    ...points.filter(({ failed }) => failed).map((each) => `${each.point}: ${each.outcome}`),
    ...subscribed.flatMap((selection) => {
      const { id, name, endpoint } = selection;
      const firsts = [...endpoint.firsts.values()];
      return [
        ...endpoint.offences.map((offence) => `${name}: ${offence}`),
        ...check({ name, firsts, arrivals: endpoint.arrivals }, id, expectedOf(truth, selection)),
        ...audit(name, firsts, selection, log),
      ];
    }),
  ];
  const deliveries = subscribed.reduce((sum, { endpoint }) => sum + endpoint.arrivals.length, 0);
  const events = subscribed.reduce((sum, { endpoint }) => sum + endpoint.firsts.size, 0);
  return {
    seed,
    offences,
    points,
    changes: truth.length,
    deliveries,
    repeats: deliveries - events,
    kills: fleet.kills,
    restarts: fleet.restarts,
    crashes,
    worstLag: gauges.worstLag,
    worstRss: gauges.worstRss,
    seconds: (performance.now() - begun) / 1_000,
  };
}

/** Waits until each endpoint has accepted what is due to it, or nothing more comes. */
async function arrivalOfAll(
  database: Database,
  subscribed: readonly Subscribed[],
  truth: readonly Truth[],
): Promise<void> {
  const due = subscribed.map((each) => ({ ...each, count: expectedOf(truth, each).length }));
  const missing = () =>
    due.reduce((sum, { count, endpoint }) => sum + Math.max(0, count - endpoint.accepted), 0);
  let least = missing();
  let since = performance.now();
  while (least > 0 && performance.now() - since < patienceMs) {
    await delay(100);
    const now = missing();
    if (now < least) [least, since] = [now, performance.now()];
  }
  // Whatever is missing shows better in the comparison.
  if (least === 0) await database.confirmed(patienceMs);
}
