import type postgres from 'postgres';

export type Ids = Record<string, { id: string; columns: Record<string, string> }>;

/** The ids of tables and columns in the last version of schema public, by their names. */
export async function idsIn({ sql }: { sql: postgres.Sql }): Promise<Ids> {
  const [row] = await sql<{ ids: Ids }[]>`
    with last as (
      select pgstream.schema_at('public', max(version)) as schema
      from pgstream.schema_log where schema_name = 'public'
    )
    select jsonb_object_agg(t ->> 'name', jsonb_build_object(
      'id', t ->> 'pgstream_id',
      'columns', (select jsonb_object_agg(c ->> 'name', c ->> 'pgstream_id')
                  from jsonb_array_elements(t -> 'columns') c))) as ids
    from last, jsonb_array_elements(schema -> 'tables') t`;
  return row!.ids;
}
