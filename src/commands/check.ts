import type { Command } from 'commander';
import { check } from '../check/check.js';
import { formatFindings, isHealthy } from '../check/finding.js';
import { exitCode } from '../errors.js';
import { loadSettings } from '../settings/settings.js';
import { connectionFlags, type ConnectionFlags } from './flags.js';
import { print } from './output.js';

interface CheckFlags extends ConnectionFlags {
  json?: boolean;
}

export function addCheck(program: Command): void {
  connectionFlags(program.command('check'))
    .description('say what keeps changes from being delivered; exit code 3 when something does')
    .option('--json', 'print one JSON object')
    .action(async (flags: CheckFlags) => {
      const settings = loadSettings({ flags, env: process.env, configFile: flags.config });
      const findings = await check({
        connection: settings.source,
        slotName: settings.slotName,
        evaluator: settings.evaluator,
      });
      const healthy = isHealthy(findings);
      print(flags.json ? JSON.stringify({ healthy, findings }) : formatFindings(findings));
      if (!healthy) process.exitCode = exitCode.unhealthy;
    });
}
