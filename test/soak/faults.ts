/** Does to runners and to Postgres what the plan says, one thing after the other. */
import { setTimeout as delay } from 'node:timers/promises';
import type { RunningPostgres } from '../../src/embedded/start.js';
import type { Database } from './database.js';
import type { Endpoint } from './endpoint.js';
import type { Fleet, Run } from './fleet.js';
import { planSpells, type Fault, type Step } from './plan.js';

/** Postgres gives a connection up that is silent for so long. */
export const walSenderTimeoutMs = 3_000;

export interface World {
  readonly server: RunningPostgres;
  readonly database: Database;
  readonly fleet: Fleet;
}

/** Carries the plan out; returns how often Postgres was crashed. */
export async function runFaults(
  world: World,
  plan: readonly Step[],
  report: (text: string) => void,
): Promise<number> {
  let crashes = 0;
  for (const [i, { afterMs, since, fault }] of plan.entries()) {
    if (since === 'streaming') await world.fleet.streaming();
    await delay(afterMs);
    if (i % 25 === 24) report(`${i + 1} of ${plan.length} faults`);
    if (fault.kind === 'crash') crashes++;
    await inject(world, fault);
  }
  return crashes;
}

async function inject({ server, database, fleet }: World, fault: Fault): Promise<void> {
  const run = fleet.current;
  switch (fault.kind) {
    case 'kill':
    case 'stop':
      run.doomed = true;
      await fleet[fault.kind](run);
      fleet.start();
      return;
    case 'pause':
      send(run, 'SIGSTOP');
      await delay(fault.forMs);
      send(run, 'SIGCONT');
      return;
    case 'stand-by':
      return standBy(fleet, fault);
    case 'crash':
      await server.crash();
      return server.restart();
    case 'cut-stream':
      return database.cutStream();
    case 'cut-sql':
      return database.cutSql();
  }
}

/** Afterwards one of two goes on as the one that is meant to run. */
async function standBy(fleet: Fleet, fault: Fault & { kind: 'stand-by' }): Promise<void> {
  const first = fleet.current;
  const second = fleet.launch();
  await delay(fault.waitsMs);
  if (fault.loss !== 'pause') {
    await fleet[fault.loss](first);
    return takeOver(fleet, second);
  }
  send(first, 'SIGSTOP');
  await delay(walSenderTimeoutMs + 1_500);
  send(first, 'SIGCONT');
  await delay(fault.waitsMs);
  if (fault.stays === 'first') return fleet.kill(second);
  // It may have ended by itself, and have been started again.
  await fleet.kill(fleet.current);
  takeOver(fleet, second);
}

function takeOver(fleet: Fleet, second: Run): void {
  if (second.ended) fleet.start();
  else fleet.promote(second);
}

function send({ runner, ended }: Run, signal: NodeJS.Signals): void {
  if (!ended) process.kill(runner.pid, signal);
}

/** Lets an endpoint have its spells until the signal fires; then it is well again. */
export async function runSpells(
  endpoint: Endpoint,
  seed: number,
  signal: AbortSignal,
): Promise<void> {
  const wait = (ms: number) => delay(ms, undefined, { signal }).catch(() => undefined);
  for (const { afterMs, trouble, forMs } of planSpells(seed, endpoint.name)) {
    await wait(afterMs);
    if (signal.aborted) return;
    await endpoint.trouble(trouble);
    await wait(forMs);
    await endpoint.trouble(undefined);
  }
}
