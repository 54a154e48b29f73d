import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { clusterUrl } from './cluster-url.js';
import { eventually } from './poll.js';
import { databaseUrl, templateDatabase } from './template.js';

interface DatabaseOptions {
  /** False for an empty database, without pgstream. */
  template?: boolean;
}

export interface TestDatabase {
  url: string;
  name: string;
  sql: postgres.Sql;
  /** Drops the database with its slots, whoever uses them. */
  drop(): Promise<void>;
}

/** Creates a database of its own for a test file, with pgstream installed, on the shared cluster. */
export async function createDatabase({
  template = true,
}: DatabaseOptions = {}): Promise<TestDatabase> {
  const cluster = clusterUrl();
  const name = `test_${randomBytes(6).toString('hex')}`;
  await asAdministrator(async (admin) => {
    const origin = template ? templateDatabase : 'template1';
    await admin`create database ${admin(name)} template ${admin(origin)}`;
  });
  const url = databaseUrl(cluster, name);
  const sql = postgres(url, { max: 4, onnotice: () => undefined });
  return {
    url,
    name,
    sql,
    async drop() {
      await sql.end({ timeout: 1 });
      await asAdministrator(async (admin) => {
        await eventually(() => dropSlots(admin, name));
        await admin`drop database if exists ${admin(name)} with (force)`;
      });
    },
  };
}

/** Runs work on a short connection as the superuser to the cluster's own database. */
async function asAdministrator(work: (admin: postgres.Sql) => Promise<void>): Promise<void> {
  const admin = postgres(clusterUrl(), { max: 1, onnotice: () => undefined });
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}

/** Throws while a slot is still in use: a terminated walsender takes a moment to leave. */
async function dropSlots(admin: postgres.Sql, database: string): Promise<void> {
  await admin`
    select pg_terminate_backend(active_pid) from pg_replication_slots
    where database = ${database} and active`;
  await admin`
    select pg_drop_replication_slot(slot_name) from pg_replication_slots
    where database = ${database}`;
}
