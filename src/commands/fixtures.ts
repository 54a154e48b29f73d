import type { Command } from 'commander';
import { fixturesSql } from '../foreign/fixtures-sql.js';
import { readTables } from '../foreign/tables.js';
import { withClient } from '../install/schema.js';
import { loadSettings } from '../settings/settings.js';
import { connectionFlags, type ConnectionFlags } from './flags.js';
import { print } from './output.js';

export function addFixtures(program: Command): void {
  connectionFlags(program.command('fixtures'))
    .description('print SQL that makes these tables in a test database, where they are not foreign')
    .argument('<table...>', 'as in SQL: schema.table')
    .action(async (tables: string[], flags: ConnectionFlags) => {
      const { source } = loadSettings({ flags, env: process.env, configFile: flags.config });
      const found = await withClient(source, (client) => readTables(client, 'public', tables));
      print(fixturesSql(found));
    });
}
