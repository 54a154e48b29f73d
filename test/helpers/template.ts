import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import postgres from 'postgres';

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
  const installer = new URL('../../src/install/install.ts', import.meta.url);
  if (!existsSync(installer)) return;
  const { installSchema } = (await import(/* @vite-ignore */ fileURLToPath(installer))) as {
    installSchema: (connection: pg.Client) => Promise<unknown>;
  };
  const connection = new pg.Client({ connectionString: url });
  await connection.connect();
  try {
    await installSchema(connection);
  } finally {
    await connection.end();
  }
}
