/**
 * How long does an event take from its commit to its receipt? `pgstream run`, one request an event,
 * signed, against the arrival of the same commits at a client of pg_recvlogical.
 *
 *   npm run bench:latency [-- --seconds 10 --rounds 3]
 *
 * A session of the server itself commits single rows at a steady rate, several in a millisecond where
 * that has to be. Each carries the time just before its commit, and its receiver compares with the
 * clock of the same machine. The highest rate is half of what a runner delivers of commits that come
 * as fast as they can. Rows for pg_recvlogical are in another table, which the runner, idle then, does
 * not hear of, since starting it anew would measure a cold process.
 */
import { arrivalRate } from './bare.mjs';
import { figure, quantiles, ratio, rounds } from './figures.mjs';
import { startRecvlogical, until } from './harness.mjs';
import { secret, startStage, writer } from './stage.mjs';

export const title = 'latency';
export const about =
  'Milliseconds from just before a commit of one row to the receipt of its event, one request an event, signed, against the arrival of such a commit at a client of `pg_recvlogical`. The highest rate is half of what the runner keeps up with.';
export const full = { seconds: 10, rounds: 3 };
export const quick = { seconds: 1.2, rounds: 2 };

const slot = 'bench_plain';

export async function measure({ seconds, rounds: count }) {
  const stage = await startStage(async (sql, url) => {
    for (const table of ['delivered', 'plain']) {
      await sql.unsafe(
        `create table ${table} (id integer generated always as identity primary key, sent bigint)`,
      );
    }
    await sql`insert into pgstream.webhook_subscriptions (url, table_name, max_in_flight, secret)
      values (${`${url}/up`}, 'delivered', 64, ${secret})`;
    await sql`create publication bench_plain for table plain`;
    await sql.unsafe(writer);
  });
  const { database, sql, receiver } = stage;
  const write = (table, rate, rows) =>
    sql`call bench_write(array[${table}::text], ${rate}::float8, ${rows}::integer)`;
  const lines = [];
  await stage.withRunner(async () => {
    const saturate = async () => {
      await receiver.set();
      await write('delivered', 1e6, 10_000);
      return arrivalRate(await receiver.stats(10_000));
    };
    await saturate(); // to warm up
    const most = await saturate();
    for (const rate of [100, 1000, Math.round(most / 200) * 100]) {
      const rows = Math.round(rate * seconds);
      const { ours, limit } = await rounds(count, {
        async ours() {
          await receiver.set({ record: 1 });
          await write('delivered', rate, rows);
          await receiver.stats(rows);
          return quantiles(await receiver.latencies());
        },
        limit: () => readPlain(database, rows, () => write('plain', rate, rows)),
      });
      for (const [name, key] of [
        ['p50', 'p50'],
        ['p99', 'p99'],
        ['p99.9', 'p999'],
      ]) {
        const [mine, theirs] = [ours, limit].map((all) => all.map((each) => each[key]));
        lines.push([
          `${rate.toLocaleString('en')} a second`,
          name,
          figure(mine, 1),
          figure(theirs, 1),
          ratio(mine, theirs),
        ]);
      }
    }
  });
  await stage.stop();
  return { columns: ['rate', 'quantile', 'pgstream', 'pg_recvlogical', 'ratio'], lines };
}

/** The quantiles of the milliseconds after which pg_recvlogical prints what is written. */
async function readPlain(database, rows, write) {
  const { sql } = database;
  await sql`select pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
  const reader = await startRecvlogical(database, slot, { publication: 'bench_plain', file: '-' });
  if (!reader) return { p50: NaN, p99: NaN, p999: NaN };
  const samples = [];
  const all = new Promise((resolve) => {
    reader.output.on('data', (chunk) => {
      const at = performance.timeOrigin + performance.now();
      for (const [sent] of chunk.toString('latin1').matchAll(/\d{16}/g)) {
        samples.push(at - Number(sent) / 1000);
      }
      if (samples.length >= rows) resolve();
    });
  });
  await write();
  await all;
  await reader.stop();
  await until(async () => {
    const dropped = await sql`select pg_drop_replication_slot(slot_name)
      from pg_replication_slots where slot_name = ${slot} and not active`;
    return dropped.length > 0;
  });
  return quantiles(samples);
}
