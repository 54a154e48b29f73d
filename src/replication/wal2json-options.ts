/** What wal2json is told when a stream begins. */
import { randomBytes } from 'node:crypto';
import type { PluginOptions } from './plugin.js';

/**
 * Format 2 writes a line a change. Types are told by their oids only, since wal2json writes a quoted
 * name as it is, which is no JSON. Of messages, which everybody may write and of any size, only those
 * with a prefix that nobody knows are sent.
 */
export const wal2jsonOptions = (tables: PluginOptions): PluginOptions => ({
  'format-version': '2',
  'include-xids': 'true',
  'include-timestamp': 'true',
  'include-lsn': 'true',
  'include-types': 'false',
  'include-type-oids': 'true',
  actions: 'insert,update,delete,truncate',
  'add-msg-prefixes': randomBytes(16).toString('hex'),
  ...tables,
});

/** A list of tables; what could be taken for something else is escaped. */
export const tableList = (
  tables: readonly { readonly schema: string; readonly table: string }[],
): string => tables.map(({ schema, table }) => `${escape(schema)}.${escape(table)}`).join(',');

const escape = (name: string) => name.replace(/[^\w\u{80}-\u{10ffff}]/gu, '\\$&');
