/**
 * How fast does a snapshot deliver what a table holds, and what does it cost the events of another
 * table meanwhile?
 *
 *   npm run bench:snapshot [-- --rows 1000000 --rounds 3 --seconds 20]
 *
 * The rows go out in batches of 100, signed, held against COPY of the same rows to a client that
 * throws them away. Latency is that of 500 commits a second, one request an event, with a snapshot
 * that takes the usual half of the time and without one, from just before the commit to the receipt.
 */
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { figure, megabytes, quantiles, ratio, rounds } from './figures.mjs';
import { now, until } from './harness.mjs';
import { secret, startStage, writer } from './stage.mjs';

export const title = 'snapshot';
export const about =
  "Rows a second of a snapshot that takes all of the time it can, in batches of 100, signed, against COPY of the same rows into nothing; then milliseconds from just before a commit to the receipt of its event, at 500 commits a second to another table, while a snapshot takes half of the time, against the same without one, and the longest transaction of the snapshot's, in seconds.";
export const full = { rows: 1_000_000, rounds: 3, seconds: 10 };
export const quick = { rows: 40_000, rounds: 2, seconds: 1.5 };

const rate = 500;

export async function measure({ rows, rounds: count, seconds }) {
  const stage = await startStage(async (sql, url) => {
    await sql`create table delivered (
      id integer generated always as identity primary key, sent bigint)`;
    await sql`create table held (id integer primary key, name text)`;
    await sql`insert into held select n, 'name ' || n
      from generate_series(1, ${rows}::integer) n`;
    await sql`insert into pgstream.webhook_subscriptions (url, table_name, max_in_flight, secret)
      values (${`${url}/up`}, 'delivered', 64, ${secret})`;
    await sql`insert into pgstream.webhook_subscriptions (url, table_name, batch_size, secret)
      values (${`${url}/down`}, 'held', 100, ${secret})`;
    await sql.unsafe(writer);
  });
  const { sql, receiver } = stage;
  let longest = 0;

  const request = async (share) => {
    const [{ id }] = await sql`insert into pgstream.snapshot_requests (table_names, share)
      values ('{held}', ${share}) returning id`;
    return id;
  };
  const watch = async (id) => {
    await until(async () => {
      const [row] = await sql`
        select r.state, (
          select max(extract(epoch from clock_timestamp() - a.xact_start))::float8
          from pg_stat_activity a where a.application_name = 'pgstream snapshot') as seconds
        from pgstream.snapshot_requests r where r.id = ${id}`;
      longest = Math.max(longest, row?.seconds ?? 0);
      return !row || row.state === 'done';
    });
  };
  const deliver = async () => {
    await receiver.set({ status: 204 });
    const id = await request(1);
    await watch(id);
    const [{ ms }] = await sql`
      select extract(epoch from finished_at - started_at)::float8 * 1000 as ms
      from pgstream.snapshot_requests where id = ${id}`;
    return (rows / ms) * 1000;
  };
  const copy = async () => {
    const from = now();
    const lines = await sql`copy (select * from held order by id) to stdout`.readable();
    await pipeline(lines, new Writable({ write: (_chunk, _encoding, done) => done() }));
    return (rows / (now() - from)) * 1000;
  };
  const live = async () => {
    const events = Math.round(rate * seconds);
    await receiver.set({ record: 1, status: 204 });
    await sql`call bench_write(array['delivered'], ${rate}::float8, ${events}::integer)`;
    await receiver.stats();
    return quantiles(await receiver.latencies());
  };
  const besides = async () => {
    const id = await request(0.5);
    const watching = watch(id);
    const result = await live();
    await sql`delete from pgstream.snapshot_requests where id = ${id}`;
    await watching;
    return result;
  };

  const { speed, latency, peak } = await stage.withRunner(async () => ({
    speed: await rounds(count, { ours: deliver, limit: copy }),
    latency: await rounds(count, { with: besides, without: live }),
  }));
  await stage.stop();
  const of = (side, key) => latency[side].map((each) => each[key]);
  return {
    columns: ['what', 'with a snapshot', 'limit', 'ratio'],
    lines: [
      ['rows a second', figure(speed.ours), figure(speed.limit), ratio(speed.ours, speed.limit)],
      ...['p50', 'p99'].map((key) => [
        `latency, ${key}`,
        figure(of('with', key), 1),
        figure(of('without', key), 1),
        ratio(of('with', key), of('without', key)),
      ]),
      ['longest transaction', longest.toFixed(2), '', ''],
      ['peak RSS', megabytes(peak), '', ''],
    ],
  };
}
