/** The database that is soaked: the tables, their truth, the slot and a copy of it. */
import postgres from 'postgres';
import { eventually } from '../helpers/poll.js';
import { startRunner } from '../helpers/runner.js';
import { databaseUrl } from '../helpers/template.js';
import type { Endpoint } from './endpoint.js';
import { tell, type Event } from './event.js';
import { createTables, type Action, type Wanted } from './tables.js';

export const slot = 'soak';
const copy = 'soak_audit';

export interface Truth extends Event {
  readonly action: Action;
}

export interface Database {
  readonly url: string;
  readonly sql: postgres.Sql;
  /** Asks again when Postgres has just been crashed. */
  ask<T extends NonNullable<unknown>>(question: (sql: postgres.Sql) => Promise<T>): Promise<T>;
  /** Makes the subscription and returns its id. */
  subscribe(wanted: Wanted, endpoint: Endpoint): Promise<number>;
  /** All committed changes, in the order of their seq. */
  truth(): Promise<Truth[]>;
  /** Waits until the slot is confirmed up to all that has been committed. */
  confirmed(timeout: number): Promise<void>;
  cutStream(): Promise<void>;
  cutSql(): Promise<void>;
  /** What the copy of the slot holds, piece by piece. */
  captured(): AsyncGenerator<Buffer[]>;
  close(): Promise<void>;
}

/** Creates the database, its slot with a copy of it, and the tables. */
export async function createDatabase(clusterUrl: string): Promise<Database> {
  const admin = postgres(clusterUrl, { max: 1 });
  await admin`create database soak`;
  await admin.end();
  const url = databaseUrl(clusterUrl, 'soak');
  const init = await startRunner(['init', '--pgurl', url, '--replication-slot', slot]).exited;
  if (init.code !== 0) throw new Error('pgstream init failed');
  const sql = postgres(url, { max: 4, onnotice: () => undefined, fetch_types: false });
  await sql`select pg_copy_logical_replication_slot(${slot}, ${copy}, false, 'pgoutput')`;
  await createTables(sql);
  const ask = <T extends NonNullable<unknown>>(question: (sql: postgres.Sql) => Promise<T>) =>
    eventually(() => question(sql), { timeout: 60_000 });
  return {
    url,
    sql,
    ask,
    async subscribe({ columns, tablePattern }, { name, url: endpointUrl }) {
      const row = { ...columns, name, url: endpointUrl, schema_name: 'public' };
      const [made] = await sql<{ id: number }[]>`
        insert into pgstream.webhook_subscriptions ${sql({ ...row, table_name: tablePattern })}
        returning id::integer`;
      return made!.id;
    },
    async truth() {
      const rows = await ask(
        (each) => each<{ seq: string; table: string; action: Action; old: number; id: number }[]>`
          select seq, table_name as table, action, old_id as old, id from soak.truth order by seq`,
      );
      return rows.map(({ old, action, ...row }) => ({
        action,
        ...tell({ ...row, action, oldId: old }),
      }));
    },
    async confirmed(timeout) {
      const [end] = await ask(
        (each) => each<{ lsn: string }[]>`
        select pg_current_wal_insert_lsn() as lsn`,
      );
      await eventually(
        async () => {
          const [found] = await sql`
            select from pg_replication_slots
            where slot_name = ${slot} and confirmed_flush_lsn >= ${end!.lsn}::pg_lsn`;
          if (!found) throw new Error(`the slot is not confirmed up to ${end!.lsn}`);
        },
        { timeout },
      );
    },
    async cutStream() {
      await ask(
        (each) => each`
        select pg_terminate_backend(active_pid) from pg_replication_slots
        where slot_name = ${slot} and active`,
      );
    },
    async cutSql() {
      await ask(
        (each) => each`
        select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
        and application_name = 'pgstream' and backend_type = 'client backend'`,
      );
    },
    async *captured() {
      for (;;) {
        const rows = await sql<{ data: Buffer }[]>`
          select data from pg_logical_slot_get_binary_changes(${copy}, null, 20000,
            'proto_version', '1', 'publication_names',
            'pgstream_control,pgstream_insert,pgstream_update')`;
        if (rows.length === 0) return;
        yield rows.map(({ data }) => data);
      }
    },
    close: () => sql.end({ timeout: 1 }),
  };
}
