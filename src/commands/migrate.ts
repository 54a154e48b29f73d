import type { Command } from 'commander';
import type pg from 'pg';
import { exitCode, PgstreamError } from '../errors.js';
import { publicationsExist } from '../install/publications.js';
import { installSchema, migrationStatus, removeSchema, withClient } from '../install/schema.js';
import { loadSettings } from '../settings/settings.js';
import { connectionFlags, type ConnectionFlags } from './flags.js';
import { print, say, succeed, warn } from './output.js';

interface MigrateFlags extends ConnectionFlags {
  dryRun?: boolean;
  json?: boolean;
}

export function addMigrate(program: Command): void {
  const migrate = program.command('migrate').description('the schema alone, without the slot');

  connectionFlags(migrate.command('up'))
    .description('run the migrations that are pending, then install all code')
    .option('--dry-run', 'show what would run and change nothing')
    .action((flags: MigrateFlags) =>
      withSource(flags, async (client) => {
        if (flags.dryRun) {
          const pending = (await migrationStatus(client)).filter(({ ranAt }) => !ranAt);
          for (const { name } of pending) print(name);
          return;
        }
        for (const name of await installSchema(client, warn)) say(`ran ${name}`);
        succeed('the schema is up to date');
      }),
    );

  connectionFlags(migrate.command('down'))
    .description('remove the schema with all that it holds')
    .option('--dry-run', 'show what would be undone and change nothing')
    .action((flags: MigrateFlags) =>
      withSource(flags, async (client) => {
        if (flags.dryRun) {
          const ran = (await migrationStatus(client)).filter(({ ranAt }) => ranAt);
          for (const { name } of ran.reverse()) print(name);
          return;
        }
        await refuseWithPublications(client);
        await removeSchema(client, warn);
        succeed('the schema is removed');
      }),
    );

  connectionFlags(migrate.command('status'))
    .description('show which migrations have run; exit code 3 when some have not')
    .option('--json', 'print one JSON object')
    .action((flags: MigrateFlags) =>
      withSource(flags, async (client) => {
        const status = await migrationStatus(client);
        if (flags.json) {
          print(
            JSON.stringify({
              migrations: status.map(({ name, ranAt }) => ({ name, ranAt: ranAt ?? null })),
            }),
          );
        } else {
          for (const { name, ranAt } of status) print(`${name.padEnd(40)}${ranAt ?? 'pending'}`);
        }
        if (status.some(({ ranAt }) => !ranAt)) process.exitCode = exitCode.unhealthy;
      }),
    );
}

const withSource = (flags: MigrateFlags, work: (client: pg.Client) => Promise<void>) => {
  const { source } = loadSettings({ flags, env: process.env, configFile: flags.config });
  return withClient(source, work);
};

/** Publications are made with a slot that reads them: it would be left behind, and hold the log. */
async function refuseWithPublications(client: pg.Client): Promise<void> {
  if (!(await publicationsExist(client))) return;
  throw new PgstreamError('slot_exists', 'the publications and the slot need the schema', {
    hint: 'pgstream tear-down removes all of them.',
  });
}
