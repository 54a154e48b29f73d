/**
 * What does it cost to keep a copy of a foreign table? Milliseconds and bytes of log of a refresh,
 * where so many rows of so many have changed: of a cached table, which writes what differs, against
 * a materialized view that is refreshed concurrently.
 *
 *   npm run bench:refresh [-- --rows 200000 --rounds 10]
 */
import postgres from 'postgres';
import { figure, ratio, rounds } from './figures.mjs';
import { startDatabase, startRunner } from './harness.mjs';

export const title = 'refresh';
export const about =
  'Milliseconds and kilobytes of log that one refresh of a copy of a foreign table takes, where so many of its rows have changed: a cached table, against `refresh materialized view concurrently`.';
export const full = { rows: 200_000, changed: [0, 100, 10_000], rounds: 10 };
export const quick = { rows: 100_000, changed: [100], rounds: 3 };

export async function measure({ rows, changed, rounds: count }) {
  const local = await startDatabase();
  const shop = await startDatabase();
  const runner = await startRunner(local, '--init');
  await runner.stop();
  await shop.sql`create table item (id integer primary key, note text, at timestamptz)`;
  await shop.sql`
    insert into item select n, repeat('note ', 20), now() from generate_series(1, ${rows}::int) n`;
  await copy(local.sql, shop.url);

  const lines = [];
  for (const each of changed) {
    const { ours, limit } = await rounds(
      count,
      {
        ours: () => refresh(local, `select pgstream.refresh_cached_table('item') as written`),
        limit: () => refresh(local, 'refresh materialized view concurrently item_view'),
      },
      () => shop.sql`update item set at = clock_timestamp() where id <= ${each}`,
    );
    const of = (all, key) => all.map((one) => one[key]);
    lines.push([
      each.toLocaleString('en'),
      figure(of(ours, 'written')),
      figure(of(ours, 'ms')),
      figure(of(limit, 'ms')),
      ratio(of(ours, 'ms'), of(limit, 'ms')),
      figure(of(ours, 'kilobytes'), 1),
      figure(of(limit, 'kilobytes'), 1),
    ]);
  }
  await local.stop();
  await shop.stop();
  return {
    columns: ['changed', 'written', 'ms, table', 'ms, view', 'ratio', 'KB, table', 'KB, view'],
    lines,
  };
}

async function copy(sql, url) {
  const { hostname, port } = new URL(url);
  await sql`select from pgstream.import_foreign_database(server_name => 'shop', host => ${hostname},
    port => ${port}::int, dbname => 'postgres', username => 'postgres', password => null)`;
  await sql`select pgstream.cache_foreign_table('shop.item', 'public.item')`;
  await sql`select pgstream.cache_foreign_table(
    'shop.item', 'public.item_view', mode => 'materialized_view')`;
}

async function refresh({ url, position, sql }, statement) {
  const before = await position();
  const connection = postgres(url, { max: 1 });
  await connection`select`;
  const start = performance.now();
  const [row] = await connection.unsafe(statement);
  const ms = performance.now() - start;
  await connection.end();
  const [{ bytes }] = await sql`
    select (pg_current_wal_insert_lsn() - ${before}::pg_lsn)::float8 as bytes`;
  return { ms, kilobytes: bytes / 1000, written: Number(row?.written ?? NaN) };
}
