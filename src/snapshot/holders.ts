/** The transactions that have written a table and are not over. */
import type { Sql } from 'postgres';

export interface Holder {
  /** Names the transaction: no other one is ever called so while the server runs. */
  readonly id: string;
  /** null for one that is prepared. */
  readonly pid: number | null;
}

export const writersOf = (sql: Sql, oid: number) => sql<Holder[]>`
  select distinct l.virtualtransaction as id, l.pid
  from pg_locks l
  where l.locktype = 'relation' and l.granted
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
    and l.relation in (
      select ${oid}::oid union select t.relid from pg_partition_tree(${oid}::oid) t)
    and l.mode in (
      'RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`;

export const describeHolders = (holders: readonly Holder[]): string =>
  `the table is being written by ${holders
    .map(({ id, pid }) => (pid === null ? `prepared transaction ${id.slice(3)}` : `process ${pid}`))
    .join(', ')}, which has to end first`;
