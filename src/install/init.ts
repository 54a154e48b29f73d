/** `pgstream init` and `pgstream tear-down`: everything in the database that pgstream needs. */
import type pg from 'pg';
import { PgstreamError } from '../errors.js';
import type { OutputPlugin } from '../replication/plugin.js';
import type { Connection } from '../settings/connection.js';
import { defaultSlotName } from '../settings/slot-name.js';
import { publicationsExist } from './publications.js';
import {
  checkInstaller,
  checkReplicationConnection,
  checkServer,
  inspectServer,
} from './preflight.js';
import { acceptPosition } from './record.js';
import { installSchema, removeSchema, requireSchema, withClient } from './schema.js';
import { checkSlot, createSlot, dropSlot, findSlot } from './slot.js';

export interface InitOptions {
  readonly connection: Connection;
  /** Default: `pgstream_<database>_slot`. */
  readonly slotName: string | undefined;
  readonly parts: 'all' | 'migrations' | 'slot';
  /** Of the slot; that of one that exists must be the same. Default: what it has, else pgoutput. */
  readonly plugin?: OutputPlugin | undefined;
  /**
   * Whether a slot that somebody else has moved is taken as it is, with a warning. Default: true.
   * To be false where nobody looks: what was not delivered must not be passed over by a restart.
   */
  readonly acceptGap?: boolean;
  /** Told of each step, and of what the server warns of. */
  readonly onStep: (text: string) => void;
  readonly onWarning: (text: string) => void;
}

/**
 * Installs the schema, the publications and the slot, in that order, for a slot cannot read a
 * publication that is younger than itself. What is there already is left as it is, but for the
 * record of how far the slot was delivered: where the slot is elsewhere, that is accepted, with a
 * warning. When a later step fails, what this call has made is taken away again.
 */
export function init(options: InitOptions): Promise<void> {
  const { connection, onStep, onWarning } = options;
  return withClient(connection, async (client) => {
    const server = await inspectServer(client);
    const name = options.slotName ?? defaultSlotName(server.database);
    const wantsSlot = options.parts !== 'migrations';
    const slot = wantsSlot ? await findSlot(client, name) : undefined;

    checkServer(server);
    checkInstaller(server, { schema: options.parts !== 'slot', slot: wantsSlot && !slot });
    if (wantsSlot) {
      if (slot) checkSlot(slot, name, server.database, options.plugin);
      await checkReplicationConnection(connection);
    }

    const wasThere = await schemaExists(client);
    let isOurs = false;
    if (slot && !(await publicationsExist(client))) throw slotTooOld(name);
    if (options.parts === 'slot') {
      await requireSchema(client);
    } else {
      const ran = await installSchema(client, onWarning);
      // Where none ran, somebody else has installed it at the same time.
      isOurs = !wasThere && ran.length > 0;
      onStep(
        ran.length > 0 ? `installed schema pgstream: ${ran.join(', ')}` : 'schema is up to date',
      );
    }
    if (!wantsSlot) return;

    try {
      await client.query('select pgstream.create_publications()');
      onStep('publications are ready');
      if (slot) {
        onStep(`replication slot "${name}" exists`);
      } else {
        onStep(`creating replication slot "${name}"; this waits for open transactions to end`);
        await createSlot(client, name, options.plugin ?? 'pgoutput');
        // Subscriptions of transactions that were open until now have been committed.
        await client.query('select pgstream.sync_publications()');
      }
      if (!slot || options.acceptGap !== false) {
        const gap = await acceptPosition(client, name, { isNew: !slot });
        if (gap) onWarning(gap);
      }
    } catch (error) {
      if (isOurs) await removeSchema(client);
      throw error;
    }
  });
}

/** Removes slot, publications, event triggers and schema; what is not there is not missed. */
export function tearDown(options: Omit<InitOptions, 'parts'>): Promise<void> {
  const { connection, onStep, onWarning } = options;
  return withClient(connection, async (client) => {
    const { database } = await inspectServer(client);
    const name = options.slotName ?? defaultSlotName(database);
    const slot = await findSlot(client, name);
    if (slot?.activePid) {
      throw new PgstreamError(
        '55006',
        `replication slot "${name}" is in use by process ${slot.activePid}`,
        {
          hint: 'Stop `pgstream run` first.',
        },
      );
    }
    if (slot) checkSlot({ ...slot, walStatus: null }, name, database);
    if (await removeSchema(client, onWarning))
      onStep('removed schema pgstream and its publications');
    if (await dropSlot(client, name)) onStep(`removed replication slot "${name}"`);
  });
}

const slotTooOld = (name: string) =>
  new PgstreamError(
    'slot_unusable',
    `replication slot "${name}" is older than our publications, so that it could not read them`,
    {
      hint:
        `Drop it, if nothing else reads it: select pg_drop_replication_slot('${name}'); ` +
        'then run init again. Or choose another name with --replication-slot.',
    },
  );

async function schemaExists(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query("select from pg_namespace where nspname = 'pgstream'");
  return rows.length > 0;
}
