import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { afterAll, onTestFinished, TestRunner } from 'vitest';
import { eventually } from './poll.js';

const cli = path.resolve(import.meta.dirname, '../../dist/cli.js');

interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Runner {
  pid: number;
  /** All that it has written so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Resolves with the first match in what it has written or writes; rejects when it ends before. */
  waitForLog(pattern: RegExp, options?: { timeout?: number }): Promise<RegExpExecArray>;
  /** Sends a signal (SIGKILL when absent) and waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
  /** Resolves when it has ended and all its output is here. */
  exited: Promise<Exit>;
}

interface RunnerOptions {
  /** Added to PATH and HOME, which are all that it inherits. */
  env?: Record<string, string>;
  cwd?: string;
  /** Options of Node itself. */
  execArgv?: string[];
}

/**
 * PGSTREAM_TEST_OUTPUT_PLUGIN runs the tests with slots of another output plugin than pgoutput; with
 * wal2json, those fail that tell NaN from null.
 */
const wanted = process.env['PGSTREAM_TEST_OUTPUT_PLUGIN'];
const plugin = wanted ? { PGSTREAM_POSTGRES_OUTPUT_PLUGIN: wanted } : {};

const alive = new Set<ChildProcess>();

function killAll(): void {
  for (const child of alive) child.kill('SIGKILL');
}
process.once('exit', killAll);
afterAll(killAll);

/**
 * Starts the built command line (`node dist/cli.js …`) as a process of its own. It is killed at
 * the end of the test that started it; started outside of a test, at the end of the file.
 */
export function startRunner(
  args: string[],
  { env = {}, cwd, execArgv = [] }: RunnerOptions = {},
): Runner {
  const child = spawn(process.execPath, [...execArgv, cli, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...plugin, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));

  alive.add(child);
  const ended = new AbortController();
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      alive.delete(child);
      ended.abort(new Error(`pgstream ended (${signal ?? code}): ${output.stderr}`));
      resolve({ code, signal });
    });
  });

  async function kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    child.kill(signal);
    return exited;
  }
  if (TestRunner.getCurrentTest()) onTestFinished(async () => void (await kill()));

  return {
    pid: child.pid ?? 0,
    get stdout() {
      return output.stdout;
    },
    get stderr() {
      return output.stderr;
    },
    waitForLog: (pattern, { timeout = 60_000 } = {}) =>
      eventually(
        () => {
          const match = pattern.exec(output.stderr) ?? pattern.exec(output.stdout);
          if (!match) throw new Error(`no ${pattern} in: ${output.stderr}${output.stdout}`);
          return match;
        },
        { timeout, signal: ended.signal },
      ),
    kill,
    exited,
  };
}
