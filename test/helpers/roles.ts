import postgres from 'postgres';
import { onTestFinished } from 'vitest';
import { createDatabase, type TestDatabase } from './database.js';

/** A role of its own, and a connection as it. */
export interface TestRole {
  name: string;
  url: string;
  sql: postgres.Sql;
}

/** A database, and roles that are made with these attributes, until the end of the test. */
export async function createRoles<Name extends string>(
  attributes: Record<Name, string>,
): Promise<{ database: TestDatabase; roles: Record<Name, TestRole> }> {
  const database = await createDatabase();
  const roles = {} as Record<Name, TestRole>;
  for (const [key, attribute] of Object.entries(attributes) as [Name, string][]) {
    const name = `${key}_${database.name.slice(5)}`;
    await database.sql.unsafe(`create role ${name} login ${attribute}`);
    const url = new URL(database.url);
    url.username = name;
    const sql = postgres(url.href, { max: 2, onnotice: () => undefined });
    roles[key] = { name, url: url.href, sql };
  }
  onTestFinished(async () => {
    const all = Object.values<TestRole>(roles);
    for (const { sql } of all) await sql.end({ timeout: 1 });
    for (const { name } of all) {
      const [left] = await database.sql`select from pg_roles where rolname = ${name}`;
      if (left) await database.sql.unsafe(`drop owned by ${name} cascade; drop role ${name}`);
    }
    await database.drop();
  });
  return { database, roles };
}
