/**
 * What does the schema log cost? Milliseconds and bytes of log of an ALTER TABLE, where the schema has
 * so many tables of 20 columns, against the same statement in a session with pgstream.skip_log.
 *
 *   npm run bench:ddl [-- --rounds 10]
 */
import { figure, ratio, rounds } from './figures.mjs';
import { startDatabase, startRunner } from './harness.mjs';

export const title = 'ddl';
export const about =
  'Milliseconds and kilobytes of log that one `alter table … rename column` takes, where the schema has so many tables of 20 columns, against the same with `pgstream.skip_log`. No runner is running.';
export const full = { tables: [1, 100, 1000, 5000], rounds: 10 };
export const quick = { tables: [1, 100, 1000], rounds: 3 };

export async function measure({ tables, rounds: count }) {
  const lines = [];
  const database = await startDatabase();
  const runner = await startRunner(database, '--init');
  await runner.stop();
  const { sql } = database;
  let made = 0;
  for (const most of tables) {
    await makeTables(sql, made + 1, most);
    made = most;
    await alter(database, true); // logs what was made without
    const { ours, limit } = await rounds(count, {
      ours: () => alter(database, true),
      limit: () => alter(database, false),
    });
    const of = (all, key) => all.map((each) => each[key]);
    lines.push([
      most.toLocaleString('en'),
      figure(of(ours, 'ms'), 1),
      figure(of(limit, 'ms'), 1),
      ratio(of(ours, 'ms'), of(limit, 'ms')),
      figure(of(ours, 'kilobytes'), 1),
      figure(of(limit, 'kilobytes'), 1),
    ]);
  }
  await database.stop();
  return {
    columns: ['tables', 'ms, logged', 'ms, skipped', 'ratio', 'KB, logged', 'KB, skipped'],
    lines,
  };
}

/** Renames a column there and back, and takes the second statement's figures. */
async function alter({ sql, position }, isLogged) {
  const connection = await sql.reserve();
  await connection`select set_config('pgstream.skip_log', ${isLogged ? 'off' : 'on'}, false)`;
  await connection`alter table t1 rename column c1 to c0`;
  const before = await position();
  const start = performance.now();
  await connection`alter table t1 rename column c0 to c1`;
  const ms = performance.now() - start;
  const [{ bytes }] = await connection`
    select (pg_current_wal_insert_lsn() - ${before}::pg_lsn)::integer as bytes`;
  connection.release();
  return { ms, kilobytes: bytes / 1000 };
}

const makeTables = (sql, first, last) =>
  sql.unsafe(`do $$ begin
    perform set_config('pgstream.skip_log', 'on', true);
    for n in ${first}..${last} loop
      execute format('create table t%s (%s)', n,
        (select string_agg(format('c%s text', i), ', ') from generate_series(1, 20) i));
    end loop;
  end $$`);
