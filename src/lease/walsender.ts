/** Ends whoever reads a slot, so that its lease's holder can. */
import { setTimeout as sleep } from 'node:timers/promises';
import { PgstreamError } from '../errors.js';
import type { Ask } from './connection.js';

const pauseMs = 25;
const insufficientPrivilege = '42501';
/** What Postgres says itself of a slot that is in use: worth another try later. */
const objectInUse = '55006';

/**
 * Returns when nobody reads the slot. Rejects with a PgstreamError 55006 when its reader may not be
 * ended, or has not left after `leaveMs`.
 */
export async function endReader(ask: Ask, slotName: string, leaveMs: number): Promise<void> {
  for (const begun = performance.now(); ;) {
    const [reader] = await terminateReader(ask, slotName);
    if (!reader) return;
    if (performance.now() - begun >= leaveMs) {
      throw inUse(slotName, reader.pid, 'does not end', `kill process ${reader.pid} of the server`);
    }
    await sleep(pauseMs);
  }
}

async function terminateReader(ask: Ask, slotName: string): Promise<{ pid: number }[]> {
  try {
    return await ask<{ pid: number }>(
      `select active_pid as pid, pg_terminate_backend(active_pid)
       from pg_replication_slots where slot_name = $1 and active_pid is not null`,
      [slotName],
    );
  } catch (error) {
    if (!(error instanceof PgstreamError) || error.code !== insufficientPrivilege) throw error;
    const [reader] = await ask<{ pid: number; reader: string; me: string }>(
      `select s.active_pid as pid, coalesce(a.usename, '?') as reader, current_user as me
       from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid
       where s.slot_name = $1 and s.active_pid is not null`,
      [slotName],
    );
    if (!reader) return [];
    const way = `stop it, or let us: grant "${reader.reader}" to "${reader.me}";`;
    throw inUse(slotName, reader.pid, `is of role "${reader.reader}", and may not be ended`, way);
  }
}

const inUse = (slotName: string, pid: number, why: string, way: string) =>
  new PgstreamError(
    objectInUse,
    `replication slot "${slotName}" is read by process ${pid} of the server, which ${why}`,
    { hint: `${way[0]!.toUpperCase()}${way.slice(1)}` },
  );
