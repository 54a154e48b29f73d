/**
 * Reads rows of a table by COPY, no faster than they are taken: what has not been asked for stays at
 * the server. The transaction, with its lock on the table and its snapshot, ends with the reading.
 *
 * Generated columns, output functions and policies are code of others that runs over the rows: of
 * what fails from the planning on, nothing is told but the SQLSTATE.
 */
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { PgstreamError } from '../errors.js';
import type { OutputPlugin } from '../replication/plugin.js';
import { pgOptions, printingPath, type Connection } from '../settings/connection.js';
import { withoutTexts } from '../settings/server-error.js';
import { Lines } from './copy-text.js';
import type { KeyColumn } from './key.js';
import { describeShape, type Shape } from './shape.js';

/**
 * `lock_timeout`, in milliseconds: whoever comes next for the table waits behind us. Without
 * `row_security`, a table whose rows we would see but a part of is an error.
 */
const settings = `
  set local row_security = off; set local lock_timeout = 500; set local statement_timeout = 0;
  set local idle_in_transaction_session_timeout = 0`;

export interface Reading extends Shape {
  /** What the planner expects, where that was asked for. */
  readonly expectedRows: number | undefined;
  /** Lines of COPY: the columns of the relation; without a key, then where the row lies. */
  readonly lines: AsyncIterator<Buffer, void>;
  /** Ends the transaction. */
  readonly close: () => Promise<void>;
}

export interface Wanted {
  readonly oid: number;
  /** What to read of a table with this key; undefined for all of it, in any order. */
  readonly select: (key: readonly KeyColumn[]) => Part | undefined;
  readonly isEstimated: boolean;
}

export interface Part {
  /** The values of the last row that is not wanted any more. */
  readonly after: readonly string[] | undefined;
  readonly limit: number;
}

export class Reader {
  readonly #connection: Connection;
  readonly #plugin: OutputPlugin;
  #idle: pg.Client | undefined;

  constructor(connection: Connection, plugin: OutputPlugin) {
    this.#plugin = plugin;
    this.#connection = { ...connection, applicationName: 'pgstream snapshot' };
  }

  async open(wanted: Wanted): Promise<Reading> {
    const client = this.#idle ?? (await this.#connect());
    this.#idle = undefined;
    try {
      return await this.#open(client, wanted);
    } catch (error) {
      destroy(client);
      throw error;
    }
  }

  /** Leaves the connection that is kept for the next reading. */
  async close(): Promise<void> {
    const client = this.#idle;
    this.#idle = undefined;
    await client?.end().catch(() => undefined);
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client(pgOptions(this.#connection));
    client.on('error', () => {
      if (this.#idle === client) this.#idle = undefined;
    });
    await client.connect();
    return client;
  }

  async #open(client: pg.Client, { oid, select, isEstimated }: Wanted): Promise<Reading> {
    const { name, mode } = await howToLock(client, oid);
    await client.query('begin isolation level repeatable read read only');
    await client.query(settings);
    // Takes no snapshot yet: one that is older than the lock could see a rewritten table as empty.
    await client.query(`lock table ${name} in ${mode} mode`).catch((error: unknown) => {
      throw isUnknown(error) ? renamed() : error;
    });
    const shape = await describeShape(client, oid, this.#plugin);
    if (fullName(shape.relation, shape.kind) !== name) throw renamed();
    await refuseCodeOfOthers(client, oid);
    const query = selectRows(shape, select(shape.key));
    const expectedRows = isEstimated
      ? await expected(client, shape).catch((error: unknown) => {
          throw unreadable(error);
        })
      : undefined;
    // From here to the end of the transaction, no other statement is run.
    await client.query(`set local search_path = ${printingPath}`);
    const stream = client.query(copyTo(`copy (${query}) to stdout`));
    // Whoever reads the lines is told.
    stream.on('error', () => undefined);
    let isDone = false;
    async function* lines(): AsyncGenerator<Buffer, void> {
      const cut = new Lines();
      try {
        for await (const bytes of stream) yield* cut.of(bytes as Buffer);
      } catch (error) {
        throw unreadable(error);
      }
      isDone = true;
    }
    return {
      ...shape,
      expectedRows,
      lines: lines(),
      close: async () => {
        if (!isDone) return destroy(client);
        await client.query('commit');
        if (this.#idle) destroy(client);
        else this.#idle = client;
      },
    };
  }
}

interface Named {
  readonly schema: string;
  readonly name: string;
}

const fullName = ({ schema, name }: Named, kind: string) =>
  `${kind === 'r' ? 'only ' : ''}${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(name)}`;

/**
 * The name of a table, and the lock under which it is read: one that keeps its owner from adding
 * expressions meanwhile, which planning could run, where the owner lacks rights of the runner and the
 * runner may take that lock. Children that inherit from a table are tables of their own; partitions
 * are parts of theirs.
 */
async function howToLock(
  client: pg.Client,
  oid: number,
): Promise<{ readonly name: string; readonly mode: string }> {
  const { rows } = await client.query<Named & { kind: string; mode: string }>({
    name: 'pgstream_lock',
    text: lockQuery,
    values: [oid],
  });
  const [row] = rows;
  if (!row) {
    throw new PgstreamError('table_gone', 'the table was dropped', {
      hint: 'Ask for the table that has taken its place.',
    });
  }
  return { name: fullName(row, row.kind), mode: row.mode };
}

const lockQuery = `
  with recursive parts as (
    select $1::oid as oid
    union
    select h.inhrelid
    from parts p
    join pg_class c on c.oid = p.oid and c.relkind = 'p'
    join pg_inherits h on h.inhparent = p.oid
  )
  select n.nspname as schema, c.relname as name, c.relkind as kind, case
           when pgstream._untrusted_role(array(
                  select o.relowner from parts p join pg_class o on o.oid = p.oid)) is null
             then 'access share'
           when has_table_privilege(c.oid, 'update') or has_table_privilege(c.oid, 'delete')
             then 'share update exclusive'
           else 'access share'
         end as mode
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.oid = $1`;

/** There is no such table, or no such schema. */
const isUnknown = (error: unknown) =>
  ['42P01', '3F000'].includes((error as { code?: string }).code ?? '');

/** What reading rows has failed with, without what that says of them. */
const unreadable = (error: unknown) =>
  (error as { code?: string }).code === '42501'
    ? new PgstreamError('42501', "the runner's role may not read all of it", {
        hint: 'It needs SELECT on every column, and BYPASSRLS where row-level security is on.',
      })
    : withoutTexts(error);

/** Before anything is planned: planning a query alone would run it, with the rights of the runner. */
async function refuseCodeOfOthers(client: pg.Client, oid: number): Promise<void> {
  const { rows } = await client.query<{ reason: string | null }>({
    name: 'pgstream_code',
    text: 'select pgstream._untrusted_code($1) as reason',
    values: [oid],
  });
  const reason = rows[0]?.reason ?? undefined;
  if (reason === undefined) return;
  throw new PgstreamError('42501', `reading it could run code of others: ${reason}`, {
    hint: 'Give that function to a role which has the rights of the runner: alter function ... owner to ...;',
  });
}

const renamed = () =>
  new PgstreamError('55P03', 'the table was renamed at this moment', { hint: 'Read it again.' });

/**
 * The one statement that is parsed where values are printed, with `public` in the path: so whatever it
 * names has its schema, and neither a function nor an operator is looked up.
 */
export function selectRows(shape: Shape, part: Part | undefined): string {
  const { key, relation } = shape;
  const columns = relation.columns.map(({ name }) => `t.${pg.escapeIdentifier(name)}`);
  const from = `from ${fullName(relation, shape.kind)} t`;
  if (!part) return `select ${[...columns, 't.tableoid', 't.ctid'].join()} ${from}`;
  const where = part.after ? ` where ${isBehind(key, part.after)}` : '';
  const order = key.map((column) => `${valueOf(column)} using ${column.less}`).join();
  return `select ${columns.join()} ${from}${where} order by ${order} limit ${part.limit}`;
}

const valueOf = ({ name, compared }: KeyColumn) => `t.${pg.escapeIdentifier(name)}::${compared}`;

/** Whether a row comes after the one with these values. */
function isBehind(key: readonly KeyColumn[], after: readonly string[]): string {
  const values = key.map(valueOf);
  const last = key.map(
    ({ type, compared }, i) => `${pg.escapeLiteral(after[i]!)}::${type}::${compared}`,
  );
  const [first, ...rest] = key.map(({ greater }) => greater);
  // An index serves this as a whole, but it takes one operator for all columns.
  if (rest.every((operator) => operator === first)) {
    return `(${values.join()}) ${first} (${last.join()})`;
  }
  // The index is gone through from the first column's value on.
  const start = `not ${values[0]} ${key[0]!.less} ${last[0]}`;
  const behind = key.map(({ greater }, i) =>
    [
      ...key.slice(0, i).map(({ equal }, before) => `${values[before]} ${equal} ${last[before]}`),
      `${values[i]} ${greater} ${last[i]}`,
    ].join(' and '),
  );
  return `${start} and (${behind.join(' or ')})`;
}

async function expected(client: pg.Client, shape: Shape): Promise<number> {
  const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: { 'Plan Rows': number } }] }>(
    `explain (format json) select from ${fullName(shape.relation, shape.kind)}`,
  );
  return rows[0]!['QUERY PLAN'][0].Plan['Plan Rows'];
}

function destroy(client: pg.Client): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } };
  connection.stream.destroy();
}
