import pg from 'pg';
import postgres from 'postgres';
import { installSchema } from '../../src/install/schema.js';

/** The database that has pgstream installed and that test databases are copies of. */
export const templateDatabase = 'pgstream_template';

/** The url of another database of the same cluster. */
export function databaseUrl(clusterUrl: string, name: string): string {
  const url = new URL(clusterUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Creates the template database and installs pgstream in it. */
export async function createTemplate(clusterUrl: string): Promise<void> {
  const sql = postgres(clusterUrl, { max: 1, onnotice: () => undefined });
  try {
    await sql`create database ${sql(templateDatabase)}`;
    await install(databaseUrl(clusterUrl, templateDatabase));
    // A template that somebody is connected to cannot be copied.
    await sql`alter database ${sql(templateDatabase)} allow_connections false`;
  } finally {
    await sql.end();
  }
}

/** The one place that knows how the template gets its schema. */
async function install(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await installSchema(client);
  } finally {
    await client.end();
  }
}
