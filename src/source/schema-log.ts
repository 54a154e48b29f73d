/**
 * The versions of the schema log that hold at a place in the log.
 *
 * A version reaches the runner in the stream, at its own place. Its position is written when the
 * runner has passed its commit and before it confirms that. So at a start from position P, the last
 * version of each schema with a position up to P holds, and later ones are still to come.
 */
import type { Sql } from 'postgres';
import type { SchemaDocument } from '../event/schema-versions.js';
import { formatLsn, type Lsn } from '../replication/lsn.js';
import type { Transactions } from './transactions.js';

interface LoggedSchema {
  readonly id: string;
  readonly schema_name: string;
  readonly schema: SchemaDocument;
}

/** The version of each schema that holds at `position`, where the slot is confirmed up to; whole. */
export async function loadSchemaVersions(
  sql: Sql,
  transactions: Transactions,
  position: Lsn,
): Promise<LoggedSchema[]> {
  const at = formatLsn(position);
  await transactions.run((client) =>
    client.query(
      `delete from pgstream.schema_positions old
       using pgstream.schema_positions new
       where old.schema_name = new.schema_name and new.commit_lsn <= $1::pg_lsn
         and (old.commit_lsn, old.version) < (new.commit_lsn, new.version)`,
      [at],
    ),
  );
  return sql<LoggedSchema[]>`
    select distinct on (p.schema_name)
      l.id, l.schema_name, pgstream.schema_at(l.schema_name, l.version) as schema
    from pgstream.schema_positions p
    join pgstream.schema_log l using (schema_name, version)
    where p.commit_lsn <= ${at}::pg_lsn
    order by p.schema_name, p.commit_lsn desc, p.version desc`;
}

/** The last version of each schema where no runner has passed that. */
export async function unpassedVersions(sql: Sql): Promise<Map<string, bigint>> {
  const rows = await sql<{ schema_name: string; version: string }[]>`
    select l.schema_name, l.version::text
    from (
      select schema_name, max(version) as version from pgstream.schema_log group by schema_name
    ) l
    where not exists (
      select from pgstream.schema_positions p
      where p.schema_name = l.schema_name and p.version = l.version
    )`;
  return new Map(rows.map(({ schema_name: name, version }) => [name, BigInt(version)]));
}
