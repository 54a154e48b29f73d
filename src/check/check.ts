/** `pgstream check`: everything that keeps changes from being delivered, or may do so. */
import { checkReplicationConnection, checkServer, inspectServer } from '../install/preflight.js';
import { requireSchema, withClient } from '../install/schema.js';
import { askOver, type Ask } from '../lease/connection.js';
import { readLease, readRecord } from '../lease/row.js';
import { usualPeriods } from '../lease/timing.js';
import { askSlotFacts, troublesOf } from '../lease/trouble.js';
import type { Connection } from '../settings/connection.js';
import { databaseError } from '../settings/database-error.js';
import { defaultSlotName } from '../settings/slot-name.js';
import { expressionFindings } from './expressions.js';
import { findingOf, type Finding } from './finding.js';
import { pluginFindings } from './plugin.js';
import { serverFindings } from './server.js';
import { rightFindings } from './rights.js';
import { tableFindings } from './tables.js';

export interface CheckOptions {
  readonly connection: Connection;
  /** Default: `pgstream_<database>_slot`. */
  readonly slotName: string | undefined;
  /** The login that evaluates expressions, where there is one. */
  readonly evaluator?: Connection | undefined;
}

/**
 * Looks at everything and changes nothing; the gravest finding comes first. Rejects with a
 * PgstreamError when the database cannot be reached.
 */
export function check({ connection, slotName, evaluator }: CheckOptions): Promise<Finding[]> {
  return withClient(connection, async (client) => {
    const ask = askOver(client);
    const server = await inspectServer(client);
    const name = slotName ?? defaultSlotName(server.database);

    const findings = await serverFindings(ask, server);
    const refused = (work: () => void | Promise<void>) => refusalOf(work, connection);
    findings.push(...(await refused(() => checkServer(server))));
    findings.push(...(await refused(() => checkReplicationConnection(connection))));
    const missing = await refused(() => requireSchema(client));
    findings.push(...missing);
    // Without the schema nothing else can be there, and a look at it would only fail.
    if (missing.length === 0) {
      findings.push(...(await slotFindings(ask, name)));
      findings.push(...(await pluginFindings(ask, name)));
      findings.push(...(await runnerFindings(ask, name)));
      findings.push(...(await tableFindings(ask)));
      findings.push(...(await rightFindings(ask)));
      findings.push(...(await expressionFindings(ask, evaluator)));
    }
    return bySeverity(findings);
  });
}

const bySeverity = (findings: readonly Finding[]): Finding[] =>
  (['error', 'warning', 'notice'] as const).flatMap((severity) =>
    findings.filter((finding) => finding.severity === severity),
  );

async function slotFindings(ask: Ask, slotName: string): Promise<Finding[]> {
  // The slot first: while a runner moves both, the record is ahead.
  const facts = await askSlotFacts(ask, slotName);
  const recorded = await readRecord(ask, slotName);
  const troubles = troublesOf(facts, slotName, { ...recorded, received: 0n });
  const findings = troubles.map((trouble) => findingOf(trouble));
  if (facts.slot?.wal_status === 'unreserved' && troubles.length === 0) {
    findings.push({
      severity: 'warning',
      code: 'slot_unreserved',
      what: `replication slot "${slotName}" will be lost at the next checkpoint`,
      next: 'alter system set max_slot_wal_keep_size = -1; select pg_reload_conf();',
    });
  }
  return findings;
}

async function runnerFindings(ask: Ask, slotName: string): Promise<Finding[]> {
  const row = await readLease(ask, slotName);
  if (!row || row.silentMs === null || row.silentMs > usualPeriods.silenceMs) {
    return [
      {
        severity: 'error',
        code: 'no_runner',
        what: `no runner reads replication slot "${slotName}"${lastHeard(row?.silentMs)}`,
        next: `pgstream run --replication-slot ${slotName}`,
      },
    ];
  }
  const [problem] = await ask<{ state: string; problem: string | null }>(
    `select state, problem from pgstream.runner_lease
     where slot_name = $1 and (state = 'halted' or problem is not null)`,
    [slotName],
  );
  if (!problem) return [];
  return [
    {
      severity: 'error',
      code: 'runner_halted',
      what: `the runner is ${problem.state}: ${problem.problem ?? 'it does not say why'}`,
      next: 'Its log tells more.',
    },
  ];
}

const lastHeard = (silentMs: number | null | undefined) =>
  silentMs === null || silentMs === undefined
    ? ''
    : `; the last one was heard ${Math.round(silentMs / 1000)} seconds ago`;

async function refusalOf(
  work: () => void | Promise<void>,
  connection: Connection,
): Promise<Finding[]> {
  try {
    await work();
    return [];
  } catch (error) {
    return [findingOf(databaseError(error, connection))];
  }
}
