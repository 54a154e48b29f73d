import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidArgumentError, type Command } from 'commander';
import { exitCode } from '../errors.js';
import { withClient } from '../install/schema.js';
import { loadSettings } from '../settings/settings.js';
import { parseSnapshotTables } from '../settings/snapshot-tables.js';
import { isOver, requestSnapshot, snapshotStatus, type TableStatus } from '../snapshot/request.js';
import { connectionFlags, type ConnectionFlags } from './flags.js';
import { print, say, succeed } from './output.js';
import { createProgress } from './progress.js';
import { stopSignal } from './stop-signal.js';

interface SnapshotFlags extends ConnectionFlags {
  subscription?: number;
  share?: number;
  wait: boolean;
  json?: boolean;
}

const lookMs = 250;

export function addSnapshot(program: Command): void {
  connectionFlags(program.command('snapshot'))
    .description('have the rows of tables delivered by the runner, and watch it')
    .argument('<table...>', 'table, schema.table, schema.*')
    .option('--subscription <id>', 'for this subscription only', number(1, Infinity))
    .option('--share <share>', 'of the time that it may take, 0.01 to 1', number(0.01, 1))
    .option('--no-wait', 'leave when the request is made')
    .option('--json', 'print one JSON object')
    .action(async (tables: string[], flags: SnapshotFlags) => {
      const { source } = loadSettings({ flags, env: process.env, configFile: flags.config });
      const wanted = parseSnapshotTables(tables);
      const { subscription, share } = flags;
      await withClient(source, async (client) => {
        client.on('notice', ({ message }) => say(String(message)));
        const requests = await requestSnapshot(client, wanted, { subscription, share });
        const look = () => snapshotStatus(client, requests);
        const status = flags.wait ? await watch(requests, look) : await look();
        if (flags.json) print(JSON.stringify({ requests, tables: status }));
        else if (!flags.wait) succeed(`request ${requests.join(', ')} is made`);
        else tell(status);
        if (flags.wait) process.exitCode = codeOf(status);
      });
    });
}

/** Looks until all is over or somebody interrupts, which leaves the request as it is. */
async function watch(
  requests: readonly number[],
  look: () => Promise<TableStatus[]>,
): Promise<TableStatus[]> {
  const ids = requests.join(', ');
  const signal = stopSignal(() => {
    say(`The runner goes on. To cancel it:`);
    say(`  delete from pgstream.snapshot_requests where id in (${ids});`);
  });
  const progress = createProgress(process.stderr);
  try {
    for (;;) {
      const status = await look();
      progress.show(status);
      if (status.every(isOver) || signal.aborted) return status;
      await sleep(lookMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    progress.end();
  }
}

function tell(status: readonly TableStatus[]): void {
  if (status.length === 0) say('The request was deleted.');
  for (const { schema, table, state, reason, rows } of status) {
    print(`${schema}.${table}: ${state}, ${rows} rows${reason === null ? '' : ` (${reason})`}`);
  }
}

function codeOf(status: readonly TableStatus[]): number {
  if (status.length === 0 || status.some(({ state }) => ['failed', 'cancelled'].includes(state))) {
    return exitCode.failed;
  }
  return status.every(isOver) ? exitCode.done : exitCode.unhealthy;
}

const number = (least: number, most: number) => (text: string) => {
  const value = Number(text);
  if (text.trim() !== '' && value >= least && value <= most) return value;
  throw new InvalidArgumentError(
    most === Infinity ? 'It is not a number.' : `It is not a number from ${least} to ${most}.`,
  );
};
