/**
 * A table that is subscribed to, and log that is written while nobody reads it, so that what is
 * measured is how fast it is read and delivered: by the runner, or, from a copy of its slot, by
 * pg_recvlogical.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { buffer } from 'node:stream/consumers';
import { pgstream, slotName, startDatabase, startRecvlogical, startRunner } from './harness.mjs';
import { startReceiver } from './receiver.mjs';

const publication = 'pgstream_control,pgstream_insert,pgstream_update';
const copyName = 'bench_copy';

/** For `secret`: requests are signed. */
export const secret = `whsec_${randomBytes(32).toString('base64')}`;

/** `setUp(sql, url)` makes tables and subscriptions, before there is a slot. */
export async function startStage(setUp) {
  const database = await startDatabase();
  const receiver = await startReceiver();
  const { sql } = database;
  await pgstream(database, 'init', '--migrations-only');
  await setUp(sql, receiver.url);
  await pgstream(database, 'init', '--slot-only');
  let end;

  /** A runner, streaming; `end` has it go when it has confirmed all that is written. */
  async function run() {
    const runner = await startRunner(database);
    return {
      streamingAt: runner.streamingAt,
      /** Its peak RSS, in bytes. */
      async end() {
        await runner.settle();
        const peak = runner.peakMemory();
        await runner.stop();
        return peak;
      },
    };
  }

  /** With a runner; adds its peak RSS, in bytes. */
  async function withRunner(work) {
    const runner = await run();
    const result = await work(runner);
    return { ...result, peak: await runner.end() };
  }

  return {
    database,
    sql,
    receiver,
    run,
    withRunner,

    /**
     * Writes, where there is a runner, and waits for so many events: the counters of all but the first
     * `before`.
     */
    async post(work, events, { before = 0, ...settings } = {}) {
      await receiver.set(settings);
      const stats = receiver.statsWithout(before, events);
      await database.write(work);
      return stats;
    },

    /** Writes what the runner and pg_recvlogical are to read. */
    async write(work) {
      await sql`select pg_drop_replication_slot(slot_name)
        from pg_replication_slots where slot_name = ${copyName}`;
      await sql`select pg_copy_logical_replication_slot(${slotName}, ${copyName}, false, 'pgoutput')`;
      await database.write(work);
      end = await database.position();
    },

    /** Milliseconds from the start of streaming to the last event's arrival. */
    async deliver(events) {
      await receiver.set();
      return withRunner(async ({ streamingAt }) => {
        const { last } = await receiver.stats(events);
        return { ms: last - streamingAt };
      });
    },

    /** Milliseconds from the start of streaming to the end of what was written. */
    async receive() {
      const reader = await startRecvlogical(database, copyName, {
        publication,
        file: '/dev/null',
        endAt: end,
      });
      return { ms: reader ? (await reader.ended) - reader.streamingAt : NaN };
    },

    /** A request as the runner sends it for what is written here, not signed anew each time. */
    async capture(work) {
      const server = http.createServer(async (request, response) => {
        const body = await buffer(request);
        response.writeHead(204).end();
        server.emit('captured', { ...request.headers }, body);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const requests = once(server, 'captured');
      const url = `http://127.0.0.1:${server.address().port}/up`;
      const [{ before }] = await sql`select url as before from pgstream.webhook_subscriptions`;
      const captured = await withRunner(async () => {
        await sql`update pgstream.webhook_subscriptions set url = ${url}, batch_wait = '1 s'`;
        await database.write(work);
        const [headers, body] = await requests;
        for (const own of ['host', 'connection', 'content-length']) delete headers[own];
        return { headers, body };
      });
      await withRunner(
        () => sql`update pgstream.webhook_subscriptions set url = ${before}, batch_wait = '0'`,
      );
      server.close();
      server.closeAllConnections();
      return captured;
    },

    async stop() {
      await receiver.stop();
      await database.stop();
    },
  };
}

/** Commits rows one by one, into each table in turn, when they are due, or at once where it is late. */
export const writer = `
  create procedure bench_write(tables text[], rate float8, rows integer) language plpgsql as $$
  declare
    v_start constant timestamptz := clock_timestamp();
    v_ahead float8;
  begin
    for n in 1..rows loop
      v_ahead := (n - 1) / rate - extract(epoch from clock_timestamp() - v_start);
      if v_ahead > 0 then
        perform pg_sleep(v_ahead);
      end if;
      execute format('insert into %I (sent) values ($1)', tables[1 + n % cardinality(tables)])
        using (extract(epoch from clock_timestamp()) * 1000000)::bigint;
      commit;
    end loop;
  end
  $$`;
