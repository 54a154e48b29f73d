import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { checkSecrets } from '../delivery/signature.js';
import { seal } from '../secrets/seal.js';
import { usageError } from '../settings/usage.js';
import { secretKeysOf } from '../settings/secret-keys.js';
import { print } from './output.js';

interface SealFlags {
  owner: string;
  url: string;
  schema: string;
  table: string;
  name: string;
}

export function addSeal(program: Command): void {
  program
    .command('seal')
    .description('seal a secret, read from stdin, for one subscription, with PGSTREAM_SECRET_KEY')
    .requiredOption('--owner <role>', 'the role that will make the subscription')
    .requiredOption('--url <url>', 'its url')
    .option('--schema <name>', 'its schema_name', '')
    .option('--table <name>', 'its table_name', '')
    .option('--name <name>', 'its name', '')
    .action(async (binding: SealFlags) => {
      const [key] = secretKeysOf(process.env);
      if (!key) {
        throw usageError(
          'no_key',
          'there is no key to seal with',
          'Set PGSTREAM_SECRET_KEY to that of pgstream run.',
        );
      }
      const secret = (await text(process.stdin)).trim();
      checkSecrets(secret);
      print(seal(key, binding, secret, randomBytes(12)));
    });
}
