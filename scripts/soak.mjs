// Runs pgstream against everything that can go wrong for a few minutes, and checks what arrived.
//   npm run soak                     200 kills of the runner, and the rest in proportion
//   npm run soak -- --seed 42        the same faults again
//   npm run soak -- --kills 30       fewer kills
//   npm run soak -- --rate 1500      changes a second
//   npm run soak -- --changes 1e6    go on writing until there are so many
//   npm run soak -- snapshot         a snapshot of a million rows, under writes and ten kills
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { parseArgs } from 'node:util';

const number = { type: 'string' };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: number, kills: number, rate: number, changes: number, rows: number },
});
const given = Object.entries(values).map(([name, value]) => [`SOAK_${name.toUpperCase()}`, value]);

process.chdir(path.join(import.meta.dirname, '..'));
const { status } = spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    'test/soak/vitest.config.ts',
    '--root',
    '.',
    `test/soak/${positionals[0] ?? 'soak'}.test.ts`,
  ],
  { env: { ...process.env, ...Object.fromEntries(given) }, stdio: 'inherit' },
);
process.exitCode = status ?? 1;
