/** Settings of the server that may cost changes. */
import type { Server } from '../install/preflight.js';
import type { Ask } from '../lease/connection.js';
import type { Finding } from './finding.js';

/** The first minor versions that lose nothing when tables are published under load. */
const soundMinors: Record<number, number> = { 14: 18, 15: 13, 16: 9, 17: 5 };

/** Feedback is sent every 10 seconds at the latest. */
const leastSenderTimeoutMs = 20_000;

export async function serverFindings(ask: Ask, { version }: Server): Promise<Finding[]> {
  const [settings] = await ask<{
    keepMegabytes: string;
    senderTimeoutMs: string;
    idleTimeoutSeconds: string | null;
  }>(
    `select max(setting) filter (where name = 'max_slot_wal_keep_size') as "keepMegabytes",
       max(setting) filter (where name = 'wal_sender_timeout') as "senderTimeoutMs",
       max(setting) filter (where name = 'idle_replication_slot_timeout') as "idleTimeoutSeconds"
     from pg_settings`,
  );
  return judgeServer(version, {
    keepMegabytes: Number(settings!.keepMegabytes),
    senderTimeoutMs: Number(settings!.senderTimeoutMs),
    idleTimeoutSeconds: Number(settings!.idleTimeoutSeconds ?? 0),
  });
}

export function judgeServer(
  version: number,
  settings: {
    readonly keepMegabytes: number;
    readonly senderTimeoutMs: number;
    readonly idleTimeoutSeconds: number;
  },
): Finding[] {
  const findings: Finding[] = [];
  const [major, minor] = [Math.floor(version / 10_000), version % 10_000];
  const sound = soundMinors[major];
  if (sound !== undefined && minor < sound) {
    findings.push({
      severity: 'warning',
      code: 'old_minor',
      what: `PostgreSQL ${major}.${minor} can lose changes of tables that are published while written`,
      next: `Upgrade to ${major}.${sound} or later.`,
    });
  }
  const { keepMegabytes, senderTimeoutMs, idleTimeoutSeconds } = settings;
  if (keepMegabytes >= 0) {
    findings.push({
      severity: 'notice',
      code: 'max_slot_wal_keep_size',
      what: `the slot is lost when its runner is more than ${keepMegabytes} MB of log behind`,
      next: 'alter system set max_slot_wal_keep_size = -1; select pg_reload_conf();',
    });
  }
  if (idleTimeoutSeconds > 0) {
    findings.push({
      severity: 'notice',
      code: 'idle_replication_slot_timeout',
      what: `the slot is lost when no runner has read it for ${idleTimeoutSeconds} seconds`,
      next: 'alter system set idle_replication_slot_timeout = 0; select pg_reload_conf();',
    });
  }
  if (senderTimeoutMs > 0 && senderTimeoutMs < leastSenderTimeoutMs) {
    findings.push({
      severity: 'warning',
      code: 'wal_sender_timeout',
      what: `wal_sender_timeout is ${senderTimeoutMs} ms: quiet connections will be cut`,
      next: `alter system set wal_sender_timeout = '1min'; select pg_reload_conf();`,
    });
  }
  return findings;
}
