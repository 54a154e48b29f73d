/**
 * How fast does the slot drain? `pgstream run` with batches of 100 to one endpoint, signed, against
 * pg_recvlogical with the same publications into nothing, on the same log, written beforehand.
 *
 *   npm run bench:drain [-- --rows 200000 --rounds 3]
 *
 * Rows a second, from the moment each of them says that it streams (its start-up does not count) to
 * the last event's arrival, or to the end of pg_recvlogical.
 */
import { figure, megabytes, ratio, rounds } from './figures.mjs';
import { secret, startStage } from './stage.mjs';

export const title = 'drain';
export const about =
  'Rows a second out of a slot whose log was written beforehand: `pgstream run`, in batches of 100 to one endpoint, signed, against `pg_recvlogical` with pgoutput into nothing, each from when it says that it streams.';
export const full = { rows: 300_000, rounds: 3, sizes: [1, 100, 300_000] };
export const quick = { rows: 200_000, rounds: 3, sizes: [100] };

const tables = {
  narrow: {
    columns: 'name text',
    values: "'name ' || n",
  },
  wide: {
    columns: `note text, document jsonb, at timestamptz, amount numeric, key uuid, big bigint,
      small smallint, share double precision, flag boolean, day date, name text`,
    values: `repeat(md5(n::text), 6) || 'a note ', jsonb_build_object('n', n, 'tags', '[1, 2, 3]'::jsonb),
      timestamptz '2026-01-01' + n * interval '1 s', n / 7.0, md5(n::text)::uuid, n * 10000000000,
      n % 1000, n / 3.0, n % 2 = 0, date '2026-01-01' + n % 365, 'name ' || n`,
  },
};

export async function measure({ rows, rounds: count, sizes }) {
  const lines = [];
  for (const [name, { columns, values }] of Object.entries(tables)) {
    const stage = await startStage(async (sql, url) => {
      await sql.unsafe(
        `create table t (id integer generated always as identity primary key, ${columns})`,
      );
      await sql`insert into pgstream.webhook_subscriptions (url, table_name, batch_size, secret)
        values (${`${url}/up`}, 't', 100, ${secret})`;
    });
    for (const size of sizes.filter((each) => each <= rows)) {
      const write = (connection) =>
        connection.unsafe(`do $$ begin
          for i in 1..${rows / size} loop
            insert into t overriding user value
            select 0, ${values} from generate_series(1, ${size}) n;
            commit;
          end loop;
        end $$`);
      const { ours, limit } = await rounds(
        count,
        { ours: () => stage.deliver(rows), limit: () => stage.receive() },
        () => stage.write(write),
      );
      const perSecond = ({ ms }) => (rows / ms) * 1000;
      lines.push([
        name,
        size.toLocaleString('en'),
        figure(ours.map(perSecond)),
        figure(limit.map(perSecond)),
        ratio(ours.map(perSecond), limit.map(perSecond)),
        megabytes(Math.max(...ours.map(({ peak }) => peak))),
      ]);
    }
    await stage.stop();
  }
  return {
    columns: ['rows', 'a transaction', 'pgstream', 'pg_recvlogical', 'ratio', 'peak RSS'],
    lines,
  };
}
