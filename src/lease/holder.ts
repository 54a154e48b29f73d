/** Who holds a lease, and whether that process is known to have ended. */
import { readFileSync, readlinkSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';

export interface Holder {
  /** Of this one tenure: what is left of an epoch that a crash has undone is nobody else's. */
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  /** The boot and the pid namespace in which `pid` means something; null where they are not known. */
  readonly space: string | null;
  /** When the process began, as the kernel counts, to tell it from a later one of the same number. */
  readonly started: string | null;
}

/** This process, as the holder of a lease. */
export function thisHolder(): Holder {
  const space = pidSpace();
  return {
    id: randomUUID(),
    host: hostname(),
    pid: process.pid,
    space,
    started: space === null ? null : (processOf(process.pid)?.started ?? null),
  };
}

/**
 * Whether the holder is a process of this host and pid namespace that has ended. False when that
 * cannot be known: then its silence has to be waited for.
 */
export function isKnownDead(holder: Holder | null, me: Holder): boolean {
  if (!holder || holder.space === null || holder.started === null) return false;
  if (holder.space !== me.space || holder.host !== me.host) return false;
  if (!exists(holder.pid)) return true;
  const process = processOf(holder.pid);
  // A zombie has closed everything; it only waits for its parent to ask how it ended.
  return process !== undefined && (process.ended || process.started !== holder.started);
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Only on Linux; null also where /proc shows another namespace than ours. */
function pidSpace(): string | null {
  try {
    if (readlinkSync('/proc/self') !== String(process.pid)) return null;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return null;
  }
}

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function processOf(pid: number): { ended: boolean; started: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, started] = [fields[0], fields[19]];
    if (state === undefined || started === undefined) return undefined;
    return { ended: state === 'Z' || state === 'X', started };
  } catch {
    return undefined;
  }
}
