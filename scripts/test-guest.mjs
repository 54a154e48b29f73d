// Runs the whole battery of test/guest, of which `npm test` has a fifth.
//   npm run test:guest                 on the server that all tests find
//   npm run test:guest -- 14 18        on these majors, one after the other
//   npm run test:guest -- -t enums     whatever else there is goes to vitest
import { spawnSync } from 'node:child_process';

const given = process.argv.slice(2);
const majors = given.filter((arg) => /^\d+$/.test(arg));
const options = ['--project=guest', ...given.filter((arg) => !majors.includes(arg))];
const args =
  majors.length > 0
    ? ['scripts/test-matrix.mjs', ...majors, ...options]
    : ['node_modules/vitest/vitest.mjs', 'run', ...options];

const env = { ...process.env, PGSTREAM_TEST_GUEST: 'all' };
process.exitCode = spawnSync(process.execPath, args, { env, stdio: 'inherit' }).status ?? 1;
