// Runs the tests against one major version of Postgres after the other, on the servers of
// test/matrix/package.json, which are installed when first needed; with all of test/guest.
//   npm run test:matrix                          14 to 18
//   npm run test:matrix -- 14 17                 only these
//   npm run test:matrix -- 16 test/db -t rename  whatever else there is goes to vitest
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..');
const packages = path.join(root, 'test/matrix');
const [asked, options] = splitAt(process.argv.slice(2), (arg) => !/^\d+$/.test(arg));
const majors = asked.length > 0 ? asked.map(Number) : [14, 15, 16, 17, 18];

if (!node('scripts/setup.mjs')) process.exit(1);
const installed = modifiedAt(path.join(packages, 'node_modules/.package-lock.json'));
if (installed < modifiedAt(path.join(packages, 'package-lock.json'))) {
  console.log('installing the servers …');
  const shell = process.platform === 'win32';
  const { status } = spawnSync('npm', ['ci', '--loglevel=error'], { cwd: packages, shell });
  if (status !== 0) console.log('npm ci failed; what is installed on this machine has to do');
}

const { findPostgres } = await import(new URL('../dist/embedded/find.js', import.meta.url));
process.chdir(packages); // packages are looked for from the working directory on

const results = [];
for (const major of majors) {
  const start = Date.now();
  const { version, passed } = await test(major, results.length === 0);
  const seconds = Math.round((Date.now() - start) / 1000);
  results.push({ version, passed, seconds });
}
console.log('');
for (const { version, passed, seconds } of results) {
  console.log(`PostgreSQL ${version.padEnd(6)} ${passed ? 'passed' : 'FAILED'} ${seconds} s`);
}
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1;

/** What needs no server is tested the first time only. */
async function test(major, withUnit) {
  try {
    const { binDir, version } = await findPostgres({ major, prefer: ['embedded', 'local'] });
    console.log(`\nPostgreSQL ${version} from ${binDir}`);
    const chosen = options.some((option) => option.startsWith('--project'));
    const scope = withUnit || chosen ? [] : ['--project=!unit'];
    const passed = node('node_modules/vitest/vitest.mjs', ['run', ...scope, ...options], {
      PGSTREAM_TEST_POSTGRES: String(major),
      PGSTREAM_TEST_REQUIRE_WAL2JSON: '', // no package has it
      PGSTREAM_TEST_GUEST: process.env.PGSTREAM_TEST_GUEST ?? 'all',
      PG_BIN_DIR: binDir,
      PATH: [binDir, process.env.PATH].join(path.delimiter), // for those that inherit no more
    });
    return { version, passed };
  } catch (error) {
    console.log(`\n${error.message}`);
    return { version: String(major), passed: false };
  }
}

/** Runs a program of Node in the repository; true when it succeeds. */
function node(program, args = [], variables = {}) {
  const env = { ...process.env, ...variables };
  const options = { cwd: root, env, stdio: 'inherit' };
  return spawnSync(process.execPath, [program, ...args], options).status === 0;
}

/** Milliseconds since the epoch; 0 for what does not exist. */
function modifiedAt(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** What comes before the first element that `begins` the rest, and the rest. */
function splitAt(list, begins) {
  const found = list.findIndex(begins);
  const at = found < 0 ? list.length : found;
  return [list.slice(0, at), list.slice(at)];
}
