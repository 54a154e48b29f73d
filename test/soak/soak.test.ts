import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { crashPoints } from './crash-points.js';
import { faultsFor } from './plan.js';
import { format } from './report.js';
import { soak } from './soak.js';

const option = (name: string, otherwise: number) => Number(process.env[name] ?? otherwise);

const seed = option('SOAK_SEED', randomInt(2 ** 31));
const say = (text: string) => process.stdout.write(`${text}\n`);

test('whatever is killed, every committed change arrives, in order and recognisable', async () => {
  say(`seed ${seed}`);
  try {
    const report = await soak({
      seed,
      faults: faultsFor(option('SOAK_KILLS', 200)),
      mostMs: 2_000,
      points: crashPoints,
      rate: option('SOAK_RATE', 600),
      mostBehind: 20_000,
      changes: option('SOAK_CHANGES', 0),
      report: (text) => say(`${Math.round(performance.now() / 1000)} s ${text}`),
    });
    say(`\n${format(report)}\n`);
    expect(report.offences.length, 'offences').toBe(0);
  } catch (error) {
    say(`again with: npm run soak -- --seed ${seed}`);
    throw error;
  }
}, 0);
