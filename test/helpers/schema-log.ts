import type postgres from 'postgres';
import { expect } from 'vitest';

/** Versions are 1, 2, 3 …; each can be read whole, and the last one says what the catalogs say. */
export async function expectLogInStep(sql: postgres.Sql): Promise<void> {
  const gaps = await sql`
    select schema_name, array_agg(version::integer order by version) as versions
    from pgstream.schema_log group by schema_name
    having max(version) <> count(*) or min(version) <> 1`;
  expect([...gaps]).toEqual([]);
  expect(await differences(sql)).toEqual([]);
}

/** Schemas whose last version, read whole, is not what a fresh look at the catalogs gives. */
export async function differences(sql: postgres.Sql): Promise<unknown[]> {
  const rows = await sql`
    with last as (
      select distinct on (schema_name) schema_name, version
      from pgstream.schema_log order by schema_name, version desc
    ), logged as (
      select schema_name, pgstream.schema_at(schema_name, version) as schema from last
    ), objects as (
      select o.schema_name, o.kind, jsonb_agg(o.document order by o.name collate "C") as documents
      from pg_namespace n, pgstream._objects(pgstream._oids_in(n.nspname)) o
      group by 1, 2
    ), actual as (
      select n.nspname as schema_name,
             '{"tables": null}' || coalesce(
               (select jsonb_object_agg(o.kind, o.documents) from objects o
                where o.schema_name = n.nspname), '{}') as schema
      from pg_namespace n where not pgstream.is_system_schema(n.nspname)
    )
    select coalesce(l.schema_name, a.schema_name) as schema_name, l.schema as logged,
           a.schema as actual
    from logged l full join actual a using (schema_name)
    where coalesce(l.schema, '{"tables": null}')
          <> coalesce(a.schema, '{"tables": null, "dropped": true}')`;
  return [...rows];
}
