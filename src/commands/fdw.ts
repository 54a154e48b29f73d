import type { Command } from 'commander';
import { fdwSql, script, viewsSchema, type FdwOptions } from '../foreign/fdw-sql.js';
import { readTables } from '../foreign/tables.js';
import { withClient } from '../install/schema.js';
import { parseConnectionUrl } from '../settings/connection-url.js';
import { resolveConnection } from '../settings/connection.js';
import { usageError } from '../settings/usage.js';
import { print } from './output.js';

interface FdwFlags {
  remote: string;
  schema: string;
  server: string;
  fetch: string;
  intoSchema: string;
  viewsSchema: string;
  fdw?: boolean;
  views?: boolean;
  all?: boolean;
  json?: boolean;
}

export function addFdw(program: Command): void {
  program
    .command('fdw')
    .description('print SQL for psql that makes another database readable in yours')
    .argument('[table...]', 'only these; all that may be read where none is named')
    .requiredOption('--remote <url>', 'the other database')
    .option('--schema <name>', 'the schema there', 'public')
    .option('--server <name>', 'the name of the foreign server', 'pgstream_remote')
    .option('--fetch <rows>', 'how many rows are fetched at once', '50000')
    .option('--into-schema <name>', 'where the foreign tables go', 'pgstream_remote')
    .option('--views-schema <name>', 'where the materialized views go', 'pgstream_views')
    .option('--fdw', 'print only what makes the foreign tables')
    .option('--views', 'print only the materialized views')
    .option('--all', 'print both (the default)')
    .option('--json', 'print one JSON object with each part')
    .action(async (tables: string[], flags: FdwFlags) => {
      const options = optionsOf(flags);
      const { fdw, views } = await describe(flags, tables, options);
      const all = flags.all || flags.fdw === flags.views;
      const parts = [
        ...(all || flags.fdw ? [fdw] : []),
        ...(all || flags.views ? [viewsSchema(options), ...Object.values(views)] : []),
      ];
      print(
        flags.json
          ? JSON.stringify({ fdw_sql: fdw, views_sql: views, compound_sql: script(parts) })
          : script(parts),
      );
    });
}

async function describe({ remote, schema }: FdwFlags, tables: string[], options: FdwOptions) {
  const connection = resolveConnection(remote, {});
  const { host, port, user, password, database = user } = connection;
  const named = tables.length > 0 ? tables : null;
  const found = await withClient(connection, (client) => readTables(client, schema, named));
  const { sslmode = 'prefer' } = parseConnectionUrl(remote);
  return fdwSql({ host, port, database, user, password, sslmode }, found, options);
}

function optionsOf(flags: FdwFlags): FdwOptions {
  for (const name of ['remote', 'schema', 'server', 'intoSchema', 'viewsSchema'] as const) {
    if (flags[name].trim() === '') throw wrong(name, 'is empty', 'Give a value, or leave it out.');
    if (name !== 'remote' && Buffer.byteLength(flags[name]) > 63) {
      throw wrong(
        name,
        'is longer than 63 bytes',
        'Postgres would cut it off: choose a shorter one.',
      );
    }
  }
  const fetch = Number(flags.fetch);
  if (!/^[1-9]\d{0,8}$/.test(flags.fetch)) {
    throw wrong('fetch', 'is not a number of rows', 'For example: --fetch 50000');
  }
  const { server, intoSchema, viewsSchema: views } = flags;
  return { server, fetch, intoSchema, viewsSchema: views };
}

const wrong = (name: string, message: string, hint: string) =>
  usageError(
    'invalid_flag',
    `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} ${message}`,
    hint,
  );
