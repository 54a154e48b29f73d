import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const pollInterval = 10;

export interface ProcessEntry {
  pid: number;
  parent: number;
  /** First letter of the state that `ps` prints, for example `T` stopped or `Z` zombie. */
  state: string;
}

/**
 * Kills a process and everything below it so that nothing of it can react, as a power cut would:
 * the process is stopped first, so that it neither starts a child nor notices the death of one.
 * Returns when all of them are gone.
 */
export async function killTree(root: number): Promise<void> {
  if (!signal(root, 'SIGSTOP')) return;
  let table = await processTable();
  while (table.some(({ pid, state }) => pid === root && !'TZX'.includes(state))) {
    await delay(pollInterval);
    table = await processTable();
  }
  const doomed = [...descendants(table, root), root];
  for (const pid of doomed) signal(pid, 'SIGKILL');
  while (await anyAlive(doomed)) await delay(pollInterval);
}

/** Whether one of the processes lives. A zombie does not: init may never reap it. */
export async function anyAlive(pids: readonly number[]): Promise<boolean> {
  const table = await processTable();
  return table.some(({ pid, state }) => pids.includes(pid) && !'ZX'.includes(state));
}

/** Every process below `root`, children before grandchildren. */
export function descendants(table: readonly ProcessEntry[], root: number): number[] {
  const children = table.filter(({ parent }) => parent === root).map(({ pid }) => pid);
  return [...children, ...children.flatMap((child) => descendants(table, child))];
}

/** Reads one `/proc/<pid>/stat`; the command name in it may hold blanks and parentheses. */
export function parseStat(stat: string): ProcessEntry {
  const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { pid: Number.parseInt(stat, 10), parent: Number(parent), state };
}

async function processTable(): Promise<ProcessEntry[]> {
  return process.platform === 'linux' ? readProc() : runPs();
}

async function readProc(): Promise<ProcessEntry[]> {
  const names = (await fs.readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(
    names.map((name) => fs.readFile(`/proc/${name}/stat`, 'utf8').catch(() => undefined)),
  );
  return stats.filter((stat) => stat !== undefined).map(parseStat);
}

async function runPs(): Promise<ProcessEntry[]> {
  const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=,stat=']);
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [pid, parent, state = ''] = line.trim().split(/\s+/);
      return { pid: Number(pid), parent: Number(parent), state: state.charAt(0) };
    });
}

function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
