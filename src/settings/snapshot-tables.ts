import { usageError } from './usage.js';

/** Tables of one schema that a snapshot is wanted of; names may have the wildcards * and ?. */
export interface SnapshotTables {
  readonly schema: string;
  readonly tables: readonly string[];
}

/**
 * Reads names of tables, of which those without a schema are of `public`: `test_schema.* test`.
 *
 * @throws a usage error that names what is no name.
 */
export function parseSnapshotTables(names: readonly string[]): SnapshotTables[] {
  const schemas = new Map<string, Set<string>>();
  for (const name of names) {
    const parts = name.split('.');
    const table = parts.pop()!;
    const schema = parts.length === 0 ? 'public' : parts.pop()!;
    if (parts.length > 0 || !table || !schema) {
      throw usageError(
        'invalid_table',
        `"${name}" is not the name of a table`,
        'Write table, schema.table or schema.*',
      );
    }
    schemas.set(schema, (schemas.get(schema) ?? new Set()).add(table));
  }
  return [...schemas].map(([schema, tables]) => ({ schema, tables: [...tables].sort() }));
}

/** The same of one text, separated by white space. */
export const parseSnapshotSetting = (text: string): SnapshotTables[] =>
  parseSnapshotTables(text.split(/\s+/).filter(Boolean));
