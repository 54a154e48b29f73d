/** What is sampled each second: how far the slot is behind, and what runners take of memory. */
import fs from 'node:fs/promises';
import type { Database } from './database.js';
import { slot } from './database.js';
import type { Fleet } from './fleet.js';

const everyMs = 1_000;
const mib = 1024 * 1024;

export interface Gauges {
  /** The worst of all samples, in MiB. */
  readonly worstLag: number;
  /** Undefined where the system does not tell. */
  readonly worstRss: number | undefined;
  stop(): Promise<void>;
}

export function startGauges({ sql }: Database, fleet: Fleet): Gauges {
  let worstLag = 0;
  let worstRss: number | undefined;
  let sampling = Promise.resolve();

  async function sample(): Promise<void> {
    const status = await fs
      .readFile(`/proc/${fleet.current.runner.pid}/status`, 'utf8')
      .catch(() => '');
    const peak = /^VmHWM:\s*(\d+) kB/m.exec(status)?.[1];
    if (peak) worstRss = Math.max(worstRss ?? 0, Number(peak) / 1024);
    const [row] = await sql<{ lag: number }[]>`
      select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::float8 as lag
      from pg_replication_slots where slot_name = ${slot}`;
    worstLag = Math.max(worstLag, (row?.lag ?? 0) / mib);
  }

  // Postgres may just have been crashed.
  const timer = setInterval(() => (sampling = sample().catch(() => undefined)), everyMs);
  return {
    get worstLag() {
      return worstLag;
    },
    get worstRss() {
      return worstRss;
    },
    async stop() {
      clearInterval(timer);
      await sampling;
    },
  };
}
