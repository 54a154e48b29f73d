/**
 * How fast are single events posted? `pgstream run`, one request an event, signed, against a bare
 * loop of undici's `dispatch` that posts the bytes of one such request over as many connections.
 *
 *   npm run bench:webhook [-- --rounds 3]
 *
 * What is delivered was written beforehand. Requests a second, of those that arrive after both had some
 * time to warm up.
 */
import { arrivalRate, postBare } from './bare.mjs';
import { figure, megabytes, ratio, rounds } from './figures.mjs';
import { secret, startStage } from './stage.mjs';

export const title = 'webhook';
export const about =
  "Requests a second, one an event, signed: `pgstream run` against a bare loop of undici's `dispatch` over as many connections, which posts the same bytes and signs nothing. The receiver answers after so many milliseconds. Of both, what they post while they warm up does not count.";
export const full = { seconds: 4, rounds: 5 };
export const quick = { seconds: 1, rounds: 5 };

/** Milliseconds of the receiver, requests under way, and how many are posted, a second and before. */
const cases = [
  { delay: 0, connections: 64, perSecond: 30_000, warmUp: 60_000 },
  { delay: 10, connections: 64, perSecond: 6_000, warmUp: 3_000 },
  { delay: 100, connections: 640, perSecond: 6_000, warmUp: 3_000 },
];

const insert = (rows) => (connection) =>
  connection`insert into t (name) select 'name ' || n from generate_series(1, ${rows}::integer) n`;

export async function measure({ seconds, rounds: count }) {
  const stage = await startStage(async (sql, url) => {
    await sql`create table t (id integer generated always as identity primary key, name text)`;
    await sql`insert into pgstream.webhook_subscriptions (url, table_name, secret)
      values (${`${url}/up`}, 't', ${secret})`;
  });
  const request = await stage.capture(insert(1));
  const lines = [];
  for (const { delay, connections, perSecond, warmUp } of cases) {
    const requests = warmUp + Math.round(perSecond * seconds);
    await stage.withRunner(
      () => stage.sql`update pgstream.webhook_subscriptions set max_in_flight = ${connections}`,
    );
    const { ours, limit } = await rounds(
      delay === 0 ? count : Math.max(1, Math.floor(count / 2)), // without a delay they differ more
      {
        ours: () => stage.deliver(requests, { warmUp, delay }),
        limit: () => postBare(stage.receiver, request, { requests, warmUp, connections, delay }),
      },
      () => stage.write(insert(requests)),
    );
    lines.push([
      `${delay} ms`,
      String(connections),
      figure(ours.map(arrivalRate)),
      figure(limit.map(arrivalRate)),
      ratio(ours.map(arrivalRate), limit.map(arrivalRate)),
      megabytes(Math.max(...ours.map(({ peak }) => peak))),
    ]);
  }
  await stage.stop();
  return {
    columns: ['receiver', 'in flight', 'pgstream', 'bare loop', 'ratio', 'peak RSS'],
    lines,
  };
}
