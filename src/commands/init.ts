import type { Command } from 'commander';
import { usageError } from '../settings/usage.js';
import { init, tearDown } from '../install/init.js';
import { loadSettings } from '../settings/settings.js';
import { connectionFlags, type ConnectionFlags } from './flags.js';
import { say, succeed, warn } from './output.js';

interface InitFlags extends ConnectionFlags {
  outputPlugin?: string;
  migrationsOnly?: boolean;
  slotOnly?: boolean;
}

export function addInit(program: Command): void {
  connectionFlags(program.command('init'))
    .description('install schema pgstream, the publications and the replication slot')
    .option(
      '--output-plugin <name>',
      'what the slot is made with: pgoutput (the default), or wal2json ' +
        '(PGSTREAM_POSTGRES_OUTPUT_PLUGIN)',
    )
    .option('--migrations-only', 'install the schema only')
    .option('--slot-only', 'create the publications and the slot only')
    .action(async (flags: InitFlags) => {
      if (flags.migrationsOnly && flags.slotOnly) {
        throw usageError(
          'conflicting_flags',
          '--migrations-only and --slot-only exclude each other',
          'leave both out to do both',
        );
      }
      const settings = loadSettings({ flags, env: process.env, configFile: flags.config });
      await init({
        connection: settings.source,
        slotName: settings.slotName,
        plugin: settings.outputPlugin,
        parts: flags.migrationsOnly ? 'migrations' : flags.slotOnly ? 'slot' : 'all',
        onStep: say,
        onWarning: warn,
      });
      succeed('pgstream initialisation complete');
    });
}

export function addTearDown(program: Command): void {
  connectionFlags(program.command('tear-down').alias('destroy'))
    .description('remove the slot, the publications and schema pgstream')
    .action(async (flags: ConnectionFlags) => {
      const settings = loadSettings({ flags, env: process.env, configFile: flags.config });
      await tearDown({
        connection: settings.source,
        slotName: settings.slotName,
        onStep: say,
        onWarning: warn,
      });
      succeed('pgstream tear down complete');
    });
}
