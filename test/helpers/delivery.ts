import type { TestDatabase } from './database.js';
import { eventually } from './poll.js';
import { startReceiver, type Receiver } from './receiver.js';
import { startRunner, type Runner } from './runner.js';

export interface Delivery {
  receiver: Receiver;
  runner: Runner;
  /** Waits until all that has been committed is delivered and confirmed; returns all bodies. */
  bodies(): Promise<string[]>;
  stop(): Promise<void>;
}

/** Starts `pgstream run --init` on a database, with an endpoint that is sent every event. */
export async function startDelivery({ sql, url }: TestDatabase): Promise<Delivery> {
  const receiver = await startReceiver();
  const runner = startRunner(['run', '--init'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
    },
  });
  await runner.waitForLog(/"msg":"streaming"/);
  await sql`insert into pgstream.webhook_subscriptions (url) values (${receiver.url})`;
  return {
    receiver,
    runner,
    async bodies() {
      const [now] = await sql<{ lsn: string }[]>`select pg_current_wal_flush_lsn() as lsn`;
      await eventually(
        async () => {
          const [slot] = await sql<{ passed: boolean }[]>`
            select confirmed_flush_lsn >= ${now!.lsn}::pg_lsn as passed
            from pg_replication_slots
            where database = current_database() and slot_name ^@ 'pgstream_'`;
          if (!slot!.passed) throw new Error(`not confirmed yet: ${runner.stderr.slice(-2_000)}`);
        },
        { timeout: 30_000, interval: 50 },
      );
      return receiver.requests.map(({ body }) => body);
    },
    async stop() {
      await runner.kill();
      await receiver.close();
    },
  };
}
