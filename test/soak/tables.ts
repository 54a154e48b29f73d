/**
 * The tables that are written, and who is sent what of them. Each change is also a row of `truth`,
 * written in the same transaction: that is what must arrive, and nothing else.
 */
import type { Sql } from 'postgres';

export const sharedRows = 20;

/** Nobody but its writer changes a row, except in `shared`. */
const definitions = `
  create sequence seq;
  -- keys change, and large values are left out of updates
  create table item (id integer primary key, seq bigint not null, pad text);
  alter table item alter pad set storage external;
  -- the whole old row is logged
  create table entry (id integer primary key, seq bigint not null, pad text);
  alter table entry replica identity full;
  alter table entry alter pad set storage external;
  -- all writers update the same few rows
  create table shared (id integer primary key, seq bigint not null, pad text);
  insert into shared select n, 0 from generate_series(1, ${sharedRows}) n;
  -- truncated now and then
  create table wiped (id integer primary key, seq bigint not null, pad text);
  alter table wiped replica identity full;
  create schema soak;
  create table soak.truth (
    seq bigint not null, tag text not null, table_name text not null, action text not null,
    old_id integer, id integer);
`;

export type Action = 'I' | 'U' | 'D' | 'T';

/** What a subscription selects, said once more than in SQL. */
export interface Selection {
  readonly tables: readonly string[];
  readonly actions: readonly Action[];
}

export interface Wanted extends Selection {
  /** The endpoint. */
  readonly name: string;
  readonly tablePattern: string;
  readonly columns: Readonly<Record<string, string | number>>;
  /** Whether the endpoint has spells of trouble. */
  readonly troubled: boolean;
}

const every: readonly Action[] = ['I', 'U', 'D', 'T'];

export const wanted: readonly Wanted[] = [
  {
    name: 'all',
    tables: ['item', 'entry', 'shared', 'wiped'],
    actions: every,
    tablePattern: '*',
    columns: {},
    troubled: false,
  },
  {
    name: 'items',
    tables: ['item'],
    actions: ['I', 'U'],
    tablePattern: 'item',
    columns: { event_types: '{I,U}', max_in_flight: 8, timeout: '2 s' },
    troubled: true,
  },
  {
    name: 'entries',
    tables: ['entry'],
    actions: every,
    tablePattern: 'e*y',
    columns: { timeout: '1 s' },
    troubled: true,
  },
  {
    name: 'wiped',
    tables: ['wiped'],
    actions: every,
    tablePattern: 'wiped',
    columns: { max_in_flight: 4, timeout: '1.5 s' },
    troubled: true,
  },
];

export const selects = ({ tables, actions }: Selection, table: string, action: Action): boolean =>
  tables.includes(table) && actions.includes(action);

export async function createTables(sql: Sql): Promise<void> {
  await sql.unsafe(definitions);
}
