/**
 * Reads a slot of wal2json, and asks the server for no more tables than subscriptions want.
 *
 * Which tables are sent is fixed when a stream begins.
 *
 * Invariant: the list that was given covers every table that a subscription wants at the present place
 * in the log. Where a change of a subscription or of a schema breaks that, nothing behind it is taken
 * from this stream (`isOutgrown`): the next one begins at the last commit that was read, with a list
 * that covers what is wanted now, and the server sends all that was committed behind it again.
 *
 * A list names tables one by one as long as that is safe: every subscription names one table, no such
 * table is partitioned (its rows are sent under the names of the partitions, which anybody can add),
 * and changes of schemas are told of in the log. Otherwise everything is asked for but what is ours.
 */
import type { Message } from '../replication/pgoutput.js';
import type { PluginOptions, Take } from '../replication/plugin.js';
import { Wal2jsonDecoder } from '../replication/wal2json.js';
import { tableList, wal2jsonOptions } from '../replication/wal2json-options.js';
import { arrayLiteral } from './array-literal.js';
import { isPattern } from '../subscriptions/registry.js';
import type { SlotReader } from './slot-reader.js';
import { controlTables, StreamedTables, type FinderOptions } from './streamed-tables.js';

/** wal2json compares each change with one name after the other. */
const mostListed = 500;

export class Wal2jsonReader implements SlotReader {
  readonly #options: FinderOptions;
  readonly #decoder: Wal2jsonDecoder;
  /** The tables that the server was asked for; undefined for all. */
  #asked: ReadonlySet<string> | undefined;
  #checked = { wanted: -1, versions: -1 };
  #isOutgrown = false;
  /** A schema has changed, and its log could not tell how. */
  #isUntold = false;
  /** The oid of `pgstream.ddl_error`. */
  #errors: number | undefined;

  constructor(options: FinderOptions) {
    this.#options = options;
    this.#decoder = new Wal2jsonDecoder(new StreamedTables(options));
  }

  async options(): Promise<PluginOptions> {
    const { sql, keepTrying, registry } = this.#options;
    const facts = await keepTrying(async () => {
      const [row] = await sql<Facts[]>`
        select
          coalesce((select state = 'followed' from pgstream.status
            where subject = 'schema changes'), false) as "isFollowed",
          to_json(array(
            select json_build_object('schema', n.nspname, 'table', c.relname)
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.relkind = 'p')) as partitioned,
          to_json(array(
            select distinct jsonb_build_object('schema', s.schema_name, 'table', s.table_name)
            from pgstream.webhook_subscriptions s)) as ahead,
          to_json(array(
            select c.relname
            from pg_class c
            where c.relnamespace = 'pgstream'::regnamespace and c.relkind in ('r', 'p')
              and c.relname <> all (${arrayLiteral(controlTables)}::name[]))) as internal`;
      return row!;
    });
    const wanted = registry.wantedTables;
    // What is going to be wanted is asked for at once, so that the stream need not begin again for it.
    const tables = new Map(
      [...(wanted ?? []), ...facts.ahead.filter(isOneTable)].map(
        (table) => [keyOf(table), table] as const,
      ),
    );
    const partitioned = new Set(facts.partitioned.map(keyOf));
    const isListable =
      wanted !== undefined &&
      tables.size <= mostListed &&
      facts.isFollowed &&
      !this.#isUntold &&
      !wanted.some((table) => partitioned.has(keyOf(table)) || this.#isPartitioned(table));
    this.#asked = isListable ? new Set(tables.keys()) : undefined;
    this.#isOutgrown = false;
    return wal2jsonOptions(
      isListable
        ? { 'add-tables': tableList([...ours(controlTables), ...tables.values()]) }
        : { 'filter-tables': tableList(ours(facts.internal)) },
    );
  }

  get isOutgrown(): boolean {
    if (!this.#asked || this.#isOutgrown) return this.#isOutgrown;
    const { registry, versions } = this.#options;
    if (this.#checked.wanted !== registry.epoch || this.#checked.versions !== versions.epoch) {
      this.#checked = { wanted: registry.epoch, versions: versions.epoch };
      this.#isOutgrown = !this.#isCovered(this.#asked);
    }
    return (this.#isOutgrown ||= this.#isUntold);
  }

  decode(bytes: Buffer, start: number, end: number, take: Take): ReturnType<Take> {
    return this.#decoder.decode(bytes, start, end, (message) => {
      this.#note(message);
      return take(message);
    });
  }

  interrupted(): void {
    this.#decoder.interrupted();
  }

  #note(message: Message): void {
    if (message.tag === 'relation') {
      if (message.schema === 'pgstream' && message.name === 'ddl_error') this.#errors = message.oid;
    } else if (message.tag === 'insert' && message.relation === this.#errors) {
      this.#isUntold = true;
    }
  }

  #isCovered(asked: ReadonlySet<string>): boolean {
    const wanted = this.#options.registry.wantedTables;
    return (
      wanted !== undefined &&
      wanted.every((table) => asked.has(keyOf(table)) && !this.#isPartitioned(table))
    );
  }

  #isPartitioned({ schema, table }: TableName): boolean {
    return this.#options.versions.named(schema, table)?.isPartitioned ?? false;
  }
}

interface TableName {
  readonly schema: string;
  readonly table: string;
}

const ours = (tables: readonly string[]) => tables.map((table) => ({ schema: 'pgstream', table }));

interface Facts {
  /** The tables that are subscribed to by now, further on in the log. */
  readonly ahead: readonly TableName[];
  readonly isFollowed: boolean;
  readonly partitioned: readonly TableName[];
  readonly internal: readonly string[];
}

const isOneTable = ({ schema, table }: TableName) => !isPattern(schema) && !isPattern(table);

const keyOf = ({ schema, table }: TableName) => JSON.stringify([schema, table]);
