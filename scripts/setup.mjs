// Makes a clone ready to run: dependencies as the lock file says, and dist/ as src/ says.
// Does nothing, silently, when both are fresh. Needs nothing but Node and npm.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';

process.chdir(path.join(import.meta.dirname, '..'));

if (modifiedAt('node_modules/.package-lock.json') < modifiedAt('package-lock.json')) {
  const options = [
    '--include=dev',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
    '--loglevel=error',
  ];
  say('installing dependencies …');
  if (!npm('ci', ...options)) {
    say('npm ci failed, trying npm install …');
    if (!npm('install', ...options)) fail('the dependencies could not be installed');
  }
}

if (oldest('dist') < newest('src', 'package.json', 'tsconfig.json', 'tsconfig.build.json')) {
  say('building …');
  rmSync('dist', { recursive: true, force: true });
  if (!npm('run', '--silent', 'build')) {
    rmSync('dist', { recursive: true, force: true }); // else the next run would take it for fresh
    fail('the build failed');
  }
}

function npm(...args) {
  const stdio = ['ignore', process.stderr, process.stderr];
  return spawnSync('npm', args, { stdio, shell: process.platform === 'win32' }).status === 0;
}

/** Milliseconds since the epoch; 0 for what does not exist. */
function modifiedAt(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Directories count as well: their time tells that a file was removed. */
function newest(...roots) {
  const below = roots
    .filter((root) => statSync(root).isDirectory())
    .flatMap((root) => readdirSync(root, { recursive: true }).map((file) => path.join(root, file)));
  return Math.max(...[...roots, ...below].map(modifiedAt));
}

function oldest(root) {
  if (!existsSync(root)) return 0;
  const files = readdirSync(root, { recursive: true }).map((file) => path.join(root, file));
  return Math.min(Date.now(), ...files.map(modifiedAt));
}

function say(text) {
  process.stderr.write(`${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}
