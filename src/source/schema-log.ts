/** The versions of the schema log that metadata is filled in from. */
import type { Sql } from 'postgres';
import type { SchemaDocument } from '../event/schema-versions.js';

interface LoggedSchema {
  readonly id: string;
  readonly schema_name: string;
  readonly schema: SchemaDocument;
}

/**
 * The version of each schema that a runner has passed last; where none has passed any, the newest.
 */
export async function loadSchemaVersions(sql: Sql): Promise<LoggedSchema[]> {
  return sql<LoggedSchema[]>`
    select distinct on (schema_name) id, schema_name, schema
    from pgstream.schema_log
    order by schema_name, acked desc, version desc`;
}

/** Marks a version as passed by a runner that fills in metadata. */
export async function ackSchemaVersion(sql: Sql, id: string): Promise<void> {
  await sql`update pgstream.schema_log set acked = true where id = ${id} and not acked`;
}

/** Brings log and publications in step, if a statement could not be followed when it was run. */
export async function reconcile(sql: Sql): Promise<void> {
  await sql`
    select r.schema_name
    from (select from pgstream.ddl_error where reconciled_at is null limit 1) e,
      pgstream.reconcile() r`;
}
