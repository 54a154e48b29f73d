/** The replication slot: what it must be, making it, dropping it. */
import type pg from 'pg';
import { PgstreamError } from '../errors.js';
import { isOutputPlugin, outputPlugins, type OutputPlugin } from '../replication/plugin.js';
import { anew } from '../replication/slot-error.js';

export interface Slot {
  readonly plugin: string | null;
  readonly database: string | null;
  readonly activePid: number | null;
  readonly confirmedLsn: string | null;
  readonly walStatus: string | null;
}

export async function findSlot(client: pg.Client, name: string): Promise<Slot | undefined> {
  const { rows } = await client.query<Slot>(
    `select plugin, database, active_pid as "activePid", wal_status as "walStatus",
            confirmed_flush_lsn::text as "confirmedLsn"
     from pg_replication_slots where slot_name = $1`,
    [name],
  );
  return rows[0];
}

/** Refuses a slot that cannot be streamed from here; `wanted` is the plugin that it has to have. */
export function checkSlot(
  slot: Slot | undefined,
  name: string,
  database: string,
  wanted?: OutputPlugin,
): Slot & { readonly plugin: OutputPlugin } {
  if (!slot) {
    throw new PgstreamError('slot_missing', `replication slot "${name}" does not exist`, {
      hint: `pgstream init --replication-slot ${name}`,
    });
  }
  if (slot.plugin === null || slot.database !== database) {
    const where = slot.plugin === null ? 'is physical' : `is of database "${slot.database}"`;
    throw new PgstreamError('slot_unusable', `replication slot "${name}" ${where}`, {
      hint: 'Choose another name with --replication-slot.',
    });
  }
  const { plugin } = slot;
  if (!isOutputPlugin(plugin) || (wanted && plugin !== wanted)) {
    const known = wanted ?? outputPlugins.join(' or ');
    throw new PgstreamError(
      'slot_unusable',
      `replication slot "${name}" uses the output plugin ${plugin}, not ${known}`,
      { hint: 'Choose another name with --replication-slot, or drop that slot and run init.' },
    );
  }
  if (slot.walStatus === 'lost') {
    throw new PgstreamError(
      'slot_lost',
      `replication slot "${name}" has been invalidated: changes that it had not delivered are gone`,
      {
        hint: `Begin anew, from now on: ${anew(name)}; see max_slot_wal_keep_size.`,
      },
    );
  }
  return { ...slot, plugin };
}

/** Creates the slot. Waits until every transaction that is now writing in the cluster has ended. */
export async function createSlot(
  client: pg.Client,
  name: string,
  plugin: OutputPlugin,
): Promise<void> {
  const create = client.query('select pg_create_logical_replication_slot($1, $2)', [name, plugin]);
  await create.catch((error: unknown) => {
    if ((error as { code?: string }).code !== noSuchFile) throw error;
    throw pluginMissing(plugin, error);
  });
  // What earlier slots have passed says nothing about this one.
  await client.query(
    'update pgstream.subscription_changes set commit_lsn = null where commit_lsn is not null',
  );
}

const noSuchFile = '58P01';

const pluginMissing = (plugin: OutputPlugin, cause: unknown) =>
  new PgstreamError('plugin_missing', `the server does not have the output plugin ${plugin}`, {
    hint:
      `Install it where Postgres runs, as with apt install postgresql-<version>-${plugin}; ` +
      'or leave out --output-plugin, since every server has pgoutput.',
    cause,
  });

/** Drops the slot; false when there is none. */
export async function dropSlot(client: pg.Client, name: string): Promise<boolean> {
  const { rowCount } = await client.query(
    `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`,
    [name],
  );
  return rowCount === 1;
}
