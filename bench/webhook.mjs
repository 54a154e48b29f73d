/**
 * How fast are single events posted? `pgstream run`, one request an event, signed, against a bare
 * loop of undici's `dispatch` that posts the bytes of one such request over as many connections.
 *
 *   npm run bench:webhook [-- --rounds 3]
 *
 * Both are there from the first round to the last, and have warmed up before: rounds are short and
 * many, since the machine's own speed changes from one second to the next. A round of ours begins
 * with one transaction, and counts from the first of its events that arrives behind the first ones.
 */
import { arrivalRate, startBare } from './bare.mjs';
import { figure, megabytes, ratio, rounds } from './figures.mjs';
import { secret, startStage } from './stage.mjs';

export const title = 'webhook';
export const about =
  "Requests a second, one an event, signed: `pgstream run` against a bare loop of undici's `dispatch` over as many connections, which posts the same bytes and signs nothing. The receiver answers after so many milliseconds. Both have been warmed up, and take turns.";
export const full = { seconds: 1, rounds: 40 };
export const quick = { seconds: 0.4, rounds: 15 };

/**
 * Milliseconds of the receiver, requests under way, how many are posted to warm up, and then in each
 * round before what counts, and in a second.
 */
const cases = [
  { delay: 0, connections: 64, warmUp: 60_000, before: 1_000, perSecond: 40_000 },
  { delay: 10, connections: 64, warmUp: 3_000, before: 500, perSecond: 6_000 },
  { delay: 100, connections: 640, warmUp: 3_000, before: 1_000, perSecond: 6_000 },
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
  for (const { delay, connections, warmUp, before, perSecond } of cases) {
    await stage.sql`update pgstream.webhook_subscriptions set max_in_flight = ${connections}`;
    const bare = await startBare(stage.receiver, request, connections);
    const sides = (requests, settings) => ({
      ours: async () => arrivalRate(await stage.post(insert(requests), requests, settings)),
      limit: async () => arrivalRate(await bare.post(requests, settings)),
    });
    const { ours, limit, peak } = await stage.withRunner(async () => {
      await rounds(1, sides(warmUp, { delay }));
      const requests = before + Math.round(perSecond * seconds);
      // Without a delay they differ more.
      return rounds(delay === 0 ? count : count / 5, sides(requests, { before, delay }));
    });
    await bare.stop();
    lines.push([
      `${delay} ms`,
      String(connections),
      figure(ours),
      figure(limit),
      ratio(ours, limit),
      megabytes(peak),
    ]);
  }
  await stage.stop();
  return {
    columns: ['receiver', 'in flight', 'pgstream', 'bare loop', 'ratio', 'peak RSS'],
    lines,
  };
}
