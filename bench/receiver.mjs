/** The receiver, in a process of its own: receiver.c, or, without a C compiler, receiver-node.mjs. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

let command;

/** Whether the receiver is the native one. */
export const isNative = () => compiled().length === 1;

/** What to run. Compiled once, and removed at the end. */
function compiled() {
  if (command) return command;
  const directory = mkdtempSync(path.join(tmpdir(), 'pgstream-bench-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const program = path.join(directory, 'receiver');
  const source = path.join(import.meta.dirname, 'receiver.c');
  try {
    execFileSync('cc', ['-O2', '-o', program, source], { stdio: 'pipe' });
    command = [program];
  } catch {
    console.error('no C compiler: the receiver is a slow one, and is measured as well');
    command = [process.execPath, path.join(import.meta.dirname, 'receiver-node.mjs')];
  }
  return command;
}

/** An endpoint that accepts what is posted to `url/up…`; see receiver.c. */
export async function startReceiver() {
  const [program, ...args] = compiled();
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [port] = await once(child.stdout, 'data');
  const url = `http://127.0.0.1:${Number(port)}`;
  const ask = async (target) => (await fetch(`${url}${target}`)).json();
  const stats = (events = 0) => ask(`/stats?events=${events}`);
  return {
    url,
    /** Sets `delay`, `status` and `record`, and the counters to nought. */
    set: (settings = {}) => ask(`/set?${new URLSearchParams(settings)}`),
    /** The counters, as soon as so many events have been accepted. */
    stats,
    /** The same without the first `before` of them: what has just begun is slower. */
    async statsWithout(before, events) {
      if (before === 0) return stats(events);
      const begun = await stats(before);
      const all = await stats(events);
      return { ...all, events: all.events - begun.events, first: begun.last };
    },
    /** Milliseconds from "sent" to the arrival of each event. */
    latencies: async () => (await ask('/samples')).map((microseconds) => microseconds / 1000),
    async stop() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}
