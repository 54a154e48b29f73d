import postgres from 'postgres';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { roles } from './case.js';

/** Two databases of one server, alike but for pgstream. */
export interface Pair {
  without: TestDatabase;
  /** With pgstream, a slot, and a subscription to whatever there is. */
  guest: TestDatabase;
  version: number;
  /** Extensions that the server has. */
  extensions: ReadonlySet<string>;
  drop(): Promise<void>;
}

/** Nobody answers there, and nobody asks: there is no runner. */
const everything = 'http://127.0.0.1:9/everything';
const filtered = 'http://127.0.0.1:9/filtered';

export async function createPair(): Promise<Pair> {
  const without = await createDatabase({ template: false });
  const guest = await createDatabase();
  const { sql } = guest;
  await sql`select pgstream.create_publications()`;
  await sql`select pg_create_logical_replication_slot(${`${guest.name}_slot`}, 'pgoutput')`;
  await sql`insert into pgstream.webhook_subscriptions (url) values (${everything})`;
  for (const role of roles) await sql.unsafe(`create role ${role} login`);
  for (const database of [without, guest]) {
    await database.sql.unsafe(`alter database ${database.name} set search_path = app`);
    await clean(database);
  }
  const [server] = await sql<{ version: number }[]>`
    select current_setting('server_version_num')::integer / 10000 as version`;
  const extensions = await sql<{ name: string }[]>`select name from pg_available_extensions`;
  return {
    without,
    guest,
    version: server!.version,
    extensions: new Set(extensions.map(({ name }) => name)),
    async drop() {
      await without.drop();
      const admin = postgres(guest.url, { max: 1, onnotice: () => undefined });
      for (const role of roles) await admin.unsafe(`drop owned by ${role}; drop role ${role}`);
      await admin.end();
      await guest.drop();
    },
  };
}

/** Leaves nothing of the user's in a database but an empty schema app. */
export async function clean({ sql, name }: TestDatabase): Promise<void> {
  const prepared = await sql<{ gid: string }[]>`
    select gid from pg_prepared_xacts where database = ${name}`;
  for (const { gid } of prepared) await sql.unsafe(`rollback prepared '${gid}'`);
  await sql.unsafe(leaveNothing);
}

const leaveNothing = `
  do $$
  declare
    v_command text;
  begin
    for v_command in
      select format('drop event trigger %I', evtname) from pg_event_trigger
      where evtname !~ '^pgstream_'
      union all
      select format('drop publication %I', pubname) from pg_publication
      where pubname !~ '^pgstream_'
      union all
      select format('drop foreign data wrapper %I cascade', fdwname) from pg_foreign_data_wrapper
      where not exists (select from pg_depend d where d.objid = oid and d.deptype = 'e')
      union all
      select format('drop extension %I cascade', extname) from pg_extension
      where extname <> 'plpgsql'
      union all
      select format('drop schema %I cascade', nspname) from pg_namespace
      where nspname !~ '^(pg_|pgstream$|public$)' and nspname <> 'information_schema'
      union all
      select format('select lo_unlink(%s)', oid) from pg_largeobject_metadata
      union all
      select 'drop owned by ${roles.join(', ')}'
    loop
      execute v_command;
    end loop;
    create schema app;
  end
  $$`;

/** Subscriptions with a filter each to tables of schema app; none any more where none is named. */
export async function subscribe(
  { sql }: TestDatabase,
  filters: Readonly<Record<string, string>> = {},
  events: readonly string[] = [],
): Promise<void> {
  await sql`delete from pgstream.webhook_subscriptions where url = ${filtered}`;
  for (const [table, filter] of Object.entries(filters)) {
    await sql`
      insert into pgstream.webhook_subscriptions
        (url, schema_name, table_name, filter, event_types)
      values (${filtered}, 'app', ${table}, ${filter}, ${[...events]})`;
  }
}

/** What could not be followed; the gaps of transactions that cannot see the present are no mishap. */
export async function takeMishaps({ sql }: TestDatabase): Promise<string[]> {
  const rows = await sql<{ mishap: string | null }[]>`
    with gaps as (delete from pgstream.ddl_error returning *)
    select case when sqlstate <> '01000'
             then format('%s: %s %s', command_tag, sqlstate, message) end as mishap
    from gaps`;
  if (rows.length > 0) await sql`select * from pgstream.reconcile()`;
  return rows.flatMap(({ mishap }) => mishap ?? []);
}
