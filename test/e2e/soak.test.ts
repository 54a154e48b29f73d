import { randomInt } from 'node:crypto';
import { expect, onTestFailed, test } from 'vitest';
import { crashPoints } from '../soak/crash-points.js';
import { format } from '../soak/report.js';
import { soak } from '../soak/soak.js';

const seed = Number(process.env['PGSTREAM_TEST_SEED'] ?? randomInt(2 ** 31));

/** The confirmation, and a request that has arrived, without its answer and with it. */
const points = crashPoints.filter(
  ({ place }) =>
    'endpoint' in place ||
    ('method' in place && place.method === 'commit' && place.when === 'after'),
);

test('with everything killed now and then every committed change arrives, in order and recognisable', async () => {
  onTestFailed(() => console.error(`again with PGSTREAM_TEST_SEED=${seed}`));
  const report = await soak({
    seed,
    faults: { kill: 8, stop: 1, pause: 1, 'stand-by': 1, crash: 1, 'cut-stream': 1, 'cut-sql': 1 },
    mostMs: 1_000,
    points,
    rate: 600,
    mostBehind: 5_000,
    changes: 0,
  });
  expect(report.offences.length, format(report)).toBe(0);
}, 120_000);
