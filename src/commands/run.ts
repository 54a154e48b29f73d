import v8 from 'node:v8';
import type { Command } from 'commander';
import { createLog, logLevels } from '../log.js';
import { loadSettings } from '../settings/settings.js';
import { init } from '../install/init.js';
import { connectionFlags, type ConnectionFlags } from './flags.js';
import { stopSignal } from './stop-signal.js';

interface RunFlags extends ConnectionFlags {
  init?: boolean;
  snapshotTables?: string;
  logLevel?: string;
}

/**
 * The heap may grow by half before garbage is collected, not by far more as V8 likes it: a
 * runner is to stay small, and its events are gone as soon as they are delivered.
 */
const growth = '--heap-growing-percent=50';

export function addRun(program: Command): void {
  connectionFlags(program.command('run'))
    .description('deliver the changes of the slot until stopped')
    .option('--init', 'run init first')
    .option(
      '--snapshot-tables <tables>',
      'deliver the rows of these tables too, once (PGSTREAM_POSTGRES_SNAPSHOT_TABLES)',
    )
    .option('--log-level <level>', `how much to log: ${logLevels.join(', ')} (default: info)`)
    .action(async (flags: RunFlags) => {
      v8.setFlagsFromString(growth);
      const settings = loadSettings({ flags, env: process.env, configFile: flags.config });
      const log = createLog(settings.logLevel);
      if (flags.init) {
        const say = {
          onStep: (text: string) => log.info(text),
          onWarning: (text: string) => log.warn(text),
        };
        const { source, slotName, outputPlugin: plugin, store } = settings;
        await init({
          connection: source,
          slotName,
          plugin,
          parts: 'all',
          acceptGap: false,
          ...say,
        });
        if (store) await init({ connection: store, slotName, parts: 'migrations', ...say });
      }
      const signal = stopSignal((name) =>
        log.info({ signal: name }, 'stopping: finishing what is under way'),
      );
      const { run } = await import('../runner.js');
      await run(settings, { log, signal });
    });
}
