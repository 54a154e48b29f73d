import postgres from 'postgres';
import { startPostgres } from '../../src/embedded/start.js';
import { createDatabase, type TestDatabase } from './database.js';

/** What import_foreign_database() did, and what sync_foreign_database() does. */
export interface Done {
  foreign_table: string;
  action: string;
  detail: string;
}

export interface ForeignPair {
  /** With pgstream. */
  local: postgres.Sql;
  localUrl: string;
  /** Without. */
  remote: postgres.Sql;
  /** Parameters of an import; `more` are further ones, as SQL. */
  importIt(more?: string): Promise<Done[]>;
  sync(): Promise<Done[]>;
  drop(): Promise<void>;
}

/** The parameters of an import that say where a database is, as SQL. */
export function whereIs(url: string): string {
  const { hostname, port, pathname, username, password } = new URL(url);
  const literal = (text: string) =>
    text ? `'${decodeURIComponent(text).replaceAll("'", "''")}'` : 'null';
  return `host => ${literal(hostname)}, port => ${port}, dbname => ${literal(pathname.slice(1))},
    username => ${literal(username)}, password => ${literal(password)}`;
}

/** Two databases of this worker's cluster, of which one is to import the other as server `shop`. */
export async function createForeignPair(remoteDatabase?: TestDatabase): Promise<ForeignPair> {
  const local = await createDatabase();
  const remote = remoteDatabase ?? (await createDatabase({ template: false }));
  const rows = async (text: string) => [...(await local.sql.unsafe<Done[]>(text))];
  return {
    local: local.sql,
    localUrl: local.url,
    remote: remote.sql,
    importIt: (more = '') =>
      rows(`select * from pgstream.import_foreign_database(
        server_name => 'shop', ${whereIs(remote.url)}${more && `, ${more}`})`),
    sync: () => rows(`select * from pgstream.sync_foreign_database('shop')`),
    async drop() {
      await local.drop();
      await remote.drop();
    },
  };
}

/** A database on a server of its own, of the newest major that there is, which is another one often. */
export async function startRemote(password?: string): Promise<TestDatabase> {
  const server = await startPostgres({ prefer: ['embedded', 'local'], password });
  const sql = postgres(server.url, { max: 2, onnotice: () => undefined });
  return {
    url: server.url,
    name: 'postgres',
    sql,
    async drop() {
      await sql.end({ timeout: 1 });
      await server.stop('immediate');
    },
  };
}
