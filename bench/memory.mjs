// How much memory does the runner take where there is much of something?
//   npm run bench:memory [-- transaction hanging subscriptions row]
import { setTimeout as sleep } from 'node:timers/promises';
import { megabytes, startDatabase, startReceiver, startRunner, until } from './harness.mjs';

const cases = {
  /** A transaction of a million rows to an endpoint that answers. */
  async transaction({ sql, url, received }) {
    await sql`create table t (id integer primary key, note text)`;
    await sql`insert into pgstream.webhook_subscriptions (url, table_name, batch_size)
      values (${url}, 't', 100)`;
    await sql`insert into t select n, 'note ' || n from generate_series(1, 1000000) n`;
    await until(() => received.events >= 1_000_000);
  },

  /** The same to an endpoint that never answers. */
  async hanging({ sql, url, received, database }) {
    received.answers = false;
    await sql`create table t (id integer primary key, note text)`;
    await sql`insert into pgstream.webhook_subscriptions (url, table_name) values (${url}, 't')`;
    await sql`insert into t select n, 'note ' || n from generate_series(1, 1000000) n`;
    await until(async () => {
      const [{ count }] = await sql`select count(*) from pgstream.webhook_deliveries`;
      return count === '1000000';
    });
    await until(async () => Number((await database.slot()).lag) < 1e6);
  },

  /** Ten thousand subscriptions, each of which gets some events. */
  async subscriptions({ sql, url, received }) {
    await sql`create table t (id integer primary key, note text)`;
    await sql`insert into pgstream.webhook_subscriptions (url, table_name)
      select ${url} || '/' || n, 't' from generate_series(1, 10000) n`;
    for (let round = 1; round <= 5; round++) {
      await sql`insert into t values (${round}, 'note')`;
      await until(() => received.events === round * 10_000);
    }
  },

  /** Rows of 100 MB between small ones. */
  async row({ sql, url, received }) {
    await sql`create table t (id integer primary key, note text)`;
    await sql`insert into pgstream.webhook_subscriptions (url, table_name, timeout)
      values (${url}, 't', '1 min')`;
    for (let id = 1; id <= 6; id += 2) {
      await sql`insert into t values (${id}, repeat('x', 100000000)), (${id + 1}, 'small')`;
      await until(() => received.events === id + 1);
    }
  },
};

const asked = process.argv.slice(2).filter((name) => name in cases);
for (const name of asked.length > 0 ? asked : Object.keys(cases)) {
  const received = { events: 0, answers: true };
  const database = await startDatabase();
  const receiver = await startReceiver((_, body) => {
    received.events += body[0] === 0x5b ? JSON.parse(body).length : 1;
    return received.answers ? 204 : undefined;
  });
  const runner = await startRunner(database);
  const start = performance.now();
  const note = await cases[name]({ ...database, database, url: receiver.url, received });
  const seconds = (performance.now() - start) / 1000;
  await sleep(500);
  console.log(
    `${name}: peak ${megabytes(runner.peakMemory())} resident, ${seconds.toFixed(1)} s`,
    note ?? '',
  );
  receiver.stop();
  await runner.stop();
  await database.stop();
}
