import type { Command } from 'commander';

export interface ConnectionFlags {
  pgurl?: string;
  replicationSlot?: string;
  config?: string;
}

/** The flags of every command that works on the source database. */
export const connectionFlags = (command: Command): Command =>
  command
    .option('--pgurl <url>', 'the source database (PGSTREAM_POSTGRES_LISTENER_URL)')
    .option(
      '--replication-slot <name>',
      'the replication slot (PGSTREAM_POSTGRES_REPLICATION_SLOT_NAME)',
    )
    .option('-c, --config <file>', 'a file of settings, KEY=value a line');
