#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { addCheck } from './commands/check.js';
import { addDemo } from './commands/demo.js';
import { addFdw } from './commands/fdw.js';
import { addFixtures } from './commands/fixtures.js';
import { addInit, addTearDown } from './commands/init.js';
import { addMigrate } from './commands/migrate.js';
import { explain } from './commands/output.js';
import { addRun } from './commands/run.js';
import { addSchema } from './commands/schema.js';
import { addSeal } from './commands/seal.js';
import { addSnapshot } from './commands/snapshot.js';
import { exitCode, PgstreamError } from './errors.js';
import { withoutValues } from './settings/server-error.js';
import { version } from './version.js';

// A command loads what only it needs when it is called: most of the time that one takes is loading.
const program: Command = new Command('pgstream')
  .description('Postgres changes as webhooks, configured in SQL alone')
  .version(version)
  .exitOverride()
  .showHelpAfterError('(pgstream --help shows the commands)');

addInit(program);
addRun(program);
addTearDown(program);
addMigrate(program);
addCheck(program);
addSchema(program);
addSeal(program);
addSnapshot(program);
addFdw(program);
addFixtures(program);
addDemo(program);

/** Says why the command ends, and sets its exit code. */
function fail(error: unknown): void {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCode.done : exitCode.usage;
  } else if (error instanceof PgstreamError) {
    explain(error);
    process.exitCode = error.exitCode;
  } else {
    // Where Node would show all that the error carries, which may be a row.
    const told = withoutValues(error);
    explain(
      new PgstreamError('bug', `unexpected: ${String(told)}`, {
        hint: 'This is a bug of pgstream. PGSTREAM_LOG_LEVEL=debug shows where.',
      }),
    );
    if (process.env.PGSTREAM_LOG_LEVEL === 'debug') console.error((told as Error).stack);
    process.exitCode = exitCode.failed;
  }
}

process.on('uncaughtException', (error) => {
  fail(error);
  process.exit();
});

try {
  await program.parseAsync();
} catch (error) {
  fail(error);
}

// A driver that is still about to reconnect does not keep a command that has ended alive.
process.stdout.write('', () => process.exit());
