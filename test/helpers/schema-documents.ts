/** Documents of the schema log, with what a test does not care for filled in. */
import type { ColumnDocument, SchemaDocument, TableDocument } from '../../src/schema/document.js';

export const column = (id: string, given: Partial<ColumnDocument> = {}): ColumnDocument => ({
  pgstream_id: id,
  name: id,
  type: 'integer',
  default: null,
  nullable: true,
  unique: false,
  metadata: null,
  ...given,
});

export const table = (id: string, given: Partial<TableDocument> = {}): TableDocument => ({
  oid: `1${id.length}`,
  pgstream_id: id,
  name: id,
  columns: [],
  primary_key_columns: [],
  indexes: [],
  constraints: [],
  foreign_keys: [],
  ...given,
});

export const index = (name: string, of: string, columns: string[], unique = false) => ({
  name,
  columns,
  unique,
  definition: `CREATE ${unique ? 'UNIQUE ' : ''}INDEX ${name} ON public.${of} USING btree (${columns.join(', ')})`,
});

export const sequence = (oid: string, name: string, increment = '1') => ({
  oid,
  name,
  data_type: 'bigint',
  start_value: '1',
  minimum_value: '1',
  maximum_value: '10',
  increment,
  cycle_option: 'NO',
});

export const tables = (...all: TableDocument[]): SchemaDocument => ({ tables: all });
