/**
 * What does a dead endpoint cost?
 *
 *   npm run bench:outage [-- --rows 100000 --seconds 10 --rounds 3]
 *
 * Into the table and out of it: events a second that are stored while the endpoint refuses, against an
 * insert of the same rows within the server; and that are delivered once it accepts, against a bare
 * loop that posts the bytes of such a request.
 *
 * One of ten: ten tables with an endpoint each, one of which refuses, against the same with all up.
 * The throughput of the nine others, of one transaction, and their latency at 1,000 commits a second,
 * from just before the commit to the receipt.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { arrivalRate, startBare } from './bare.mjs';
import { figure, quantiles, ratio, rounds } from './figures.mjs';
import { now } from './harness.mjs';
import { secret, startStage, writer } from './stage.mjs';

export const title = 'outage';
export const about =
  'Events a second into pgstream.webhook_deliveries while the endpoint refuses, against an insert of the same rows within the server, and out of it once it accepts, against a bare loop that posts the same bytes, in requests of one event and of a hundred. Then ten endpoints, of which one refuses, against all ten up, by turns with a runner that is warm: events a second of the nine others, and their latency at 1,000 commits a second, where a ratio above 1 is what the dead one costs.';
export const full = { rows: 100_000, seconds: 10, rounds: 3 };
export const quick = { rows: 6_000, seconds: 1, rounds: 1 };

export async function measure({ rows, seconds, rounds: count }) {
  const lines = [
    ...(await measureBacklog(rows, 1, count)),
    ...(await measureBacklog(rows, 100, count)),
    ...(await measureOneOfTen(3 * rows, seconds, count)),
  ];
  return { columns: ['what', 'pgstream', 'limit', 'ratio'], lines };
}

async function measureBacklog(rows, batchSize, count) {
  const stage = await startStage(async (sql, url) => {
    await sql`create table t (id integer generated always as identity primary key, name text)`;
    await sql`insert into pgstream.webhook_subscriptions (url, table_name, batch_size, secret)
      values (${`${url}/down`}, 't', ${batchSize}, ${secret})`;
  });
  const { sql, receiver } = stage;
  const insert = (many) => (connection) => connection`
    insert into t (name) select 'name ' || n from generate_series(1, ${many}::integer) n`;
  const bare = await startBare(receiver, await stage.capture(insert(batchSize)), 32);
  const { ours, limit } = await rounds(
    count,
    {
      ours: () =>
        stage.withRunner(async () => {
          const stored = await storing(sql, rows);
          const copied = (rows / (await copyWaiting(sql))) * 1000;
          await receiver.set({ status: 204 });
          await sql`select pgstream.replay(subscription => id) from pgstream.webhook_subscriptions`;
          const delivered = arrivalRate(await receiver.stats(rows));
          return { stored, copied, delivered };
        }),
      limit: async () => arrivalRate(await bare.post(20_000, { before: 5_000 })),
    },
    async () => {
      await receiver.set({ status: 503 });
      await stage.write(insert(rows));
    },
  );
  await bare.stop();
  await stage.stop();
  const [stored, copied, delivered] = ['stored', 'copied', 'delivered'].map((key) =>
    ours.map((each) => each[key]),
  );
  const into = ['into the table', figure(stored), figure(copied), ratio(stored, copied)];
  const out = [
    `out of it, ${batchSize} a request`,
    figure(delivered),
    figure(limit),
    ratio(delivered, limit),
  ];
  return batchSize === 1 ? [into, out] : [out];
}

/** Rows a second, from the first that are seen to all of them. */
async function storing(sql, rows) {
  let first;
  for (;;) {
    const seen = { rows: await waiting(sql), at: now() };
    if (seen.rows > 0) first ??= seen;
    if (seen.rows === rows) return ((rows - first.rows) / (seen.at - first.at)) * 1000;
    await sleep(20);
  }
}

async function waiting(sql) {
  const [{ count }] = await sql`select count(*)::integer from pgstream.webhook_deliveries`;
  return count;
}

/** Milliseconds that the server takes to insert what waits into a table like that. */
async function copyWaiting(sql) {
  await sql`create table bench_copy (like pgstream.webhook_deliveries including all)`;
  const start = performance.now();
  await sql`insert into bench_copy select * from pgstream.webhook_deliveries`;
  const ms = performance.now() - start;
  await sql`drop table bench_copy`;
  return ms;
}

async function measureOneOfTen(rows, seconds, count) {
  const stage = await startStage(async (sql, url) => {
    for (let i = 0; i < 10; i++) {
      await sql.unsafe(
        `create table t${i} (id integer generated always as identity primary key, sent bigint)`,
      );
      await sql`insert into pgstream.webhook_subscriptions (url, table_name, secret)
        values (${`${url}${i === 0 ? '/down' : '/up'}`}, ${`t${i}`}, ${secret})`;
    }
    await sql.unsafe(writer);
  });
  const { sql, receiver } = stage;
  /** How many events arrive. */
  const arriving = (status, written) => (status === 204 ? written : (written * 9) / 10);
  const tables = `{${Array.from({ length: 10 }, (_, i) => `t${i}`).join(',')}}`;
  /** Rows, a tenth into each, in one transaction. */
  const insert = (connection) =>
    connection.unsafe(`do $$ begin
      for n in 1..${rows / 10} loop
        ${Array.from({ length: 10 }, (_, i) => `insert into t${i} (sent) values (0);`).join('\n')}
      end loop;
    end $$`);
  /** Rows, a commit for each. */
  const write = (rate, written) => (connection) =>
    connection`call bench_write(${tables}::text[], ${rate}::float8, ${written}::integer)`;
  const recover = async () => {
    await receiver.set({ status: 204 });
    await sql`select pgstream.replay(subscription => id) from pgstream.webhook_subscriptions`;
    await sql`select pgstream.wait_delivered(timeout => '1 min')`;
  };

  /** Sets how the one answers, and waits until the runner knows. */
  const show = async (status) => {
    await receiver.set({ status });
    await write(1000, 300)(sql);
    await receiver.stats(arriving(status, 300));
  };

  const throughput = (status) => async () => {
    await show(status);
    const events = arriving(status, rows);
    const posted = await stage.post(insert, events, { status, before: events / 4 });
    await recover();
    return { perSecond: arrivalRate(posted) * (status === 204 ? 0.9 : 1) };
  };
  const latency = (status) => async () => {
    await show(status);
    await receiver.set({ record: 1 });
    await write(1000, seconds * 1000)(sql);
    await receiver.stats(arriving(status, seconds * 1000));
    const figures = quantiles(await receiver.latencies());
    await recover();
    return figures;
  };

  const { raced, late } = await stage.withRunner(async () => {
    await throughput(204)(); // to warm up
    return {
      raced: await rounds(5 * count, { dead: throughput(503), up: throughput(204) }),
      late: await rounds(count + 1, { dead: latency(503), up: latency(204) }),
    };
  });
  await stage.stop();
  const line = (what, key, results, digits) => {
    const [dead, up] = [results.dead, results.up].map((all) => all.map((each) => each[key]));
    return [what, figure(dead, digits), figure(up, digits), ratio(dead, up)];
  };
  return [
    line('nine beside a dead one', 'perSecond', raced, 0),
    line('their p50, ms', 'p50', late, 1),
    line('their p99, ms', 'p99', late, 1),
  ];
}
