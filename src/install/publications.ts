import type pg from 'pg';

/** What the slot is read through; they are made by `pgstream.create_publications()`. */
export const publications = ['pgstream_control', 'pgstream_insert', 'pgstream_update'];

/** Whether all of our publications are there. */
export async function publicationsExist(client: pg.Client): Promise<boolean> {
  const { rowCount } = await client.query('select from pg_publication where pubname = any($1)', [
    publications,
  ]);
  return rowCount === publications.length;
}
