/** What has to be known before the first change is read: all that stood at the slot's position. */
import type { Sql } from 'postgres';
import { SchemaVersions } from '../event/schema-versions.js';
import type { Lsn } from '../replication/lsn.js';
import { Registry } from '../subscriptions/registry.js';
import type { SlotName } from './ahead.js';
import { catalogTypes } from './catalog.js';
import { markOlderThanSlot } from './passed.js';
import { loadSchemaVersions } from './schema-log.js';
import { loadSubscriptions } from './subscriptions.js';
import type { Transactions } from './transactions.js';

export interface SourceState {
  readonly registry: Registry;
  readonly versions: SchemaVersions;
}

export async function loadState(
  sql: Sql,
  transactions: Transactions,
  slot: SlotName,
  position: Lsn,
): Promise<SourceState> {
  await markOlderThanSlot(sql, transactions, slot, position);
  const registry = new Registry();
  for (const subscription of await loadSubscriptions(sql, transactions, position)) {
    registry.set(subscription);
  }
  const versions = new SchemaVersions(await catalogTypes(sql));
  const logged = await loadSchemaVersions(sql, transactions, position);
  for (const { id, schema_name: name, schema } of logged) {
    versions.apply(name, id, schema);
  }
  return { registry, versions };
}
