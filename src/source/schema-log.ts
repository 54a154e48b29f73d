/** The versions of the schema log that metadata is filled in from. */
import type { Sql } from 'postgres';
import type { SchemaDocument } from '../event/schema-versions.js';
import type { Transactions } from './transactions.js';

interface LoggedSchema {
  readonly id: string;
  readonly schema_name: string;
  readonly schema: SchemaDocument;
}

/**
 * The version of each schema that a runner has passed last, whole; where none has passed any, the
 * newest.
 */
export async function loadSchemaVersions(sql: Sql): Promise<LoggedSchema[]> {
  return sql<LoggedSchema[]>`
    with passed as materialized (
      select distinct on (schema_name) id, schema_name, version
      from pgstream.schema_log
      order by schema_name, acked desc, version desc
    )
    select id, schema_name, pgstream.schema_at(schema_name, version) as schema from passed`;
}

/** Marks a version as passed by a runner that fills in metadata. */
export async function ackSchemaVersion(transactions: Transactions, id: string): Promise<void> {
  await transactions.run((client) =>
    client.query('update pgstream.schema_log set acked = true where id = $1 and not acked', [id]),
  );
}
