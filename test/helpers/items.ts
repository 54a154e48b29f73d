import { expect, onTestFailed, onTestFinished } from 'vitest';
import { createDatabase, type TestDatabase } from './database.js';
import { eventually } from './poll.js';
import { startReceiver, type Receiver } from './receiver.js';
import { startRunner } from './runner.js';

export type Request = Receiver['requests'][number];
/** For what takes several steps, or a timer of the runner, also on a machine that is busy. */
export const patience = { timeout: 60_000 };

interface Given {
  /** Columns of the subscription to table `item`. */
  subscription?: Record<string, string | number | boolean>;
  /** Environment of the runner. */
  env?: Record<string, string>;
}

/** A table `item`, a subscription of `receiver` to it, and a runner that streams. */
export async function startItems({ subscription = {}, env = {} }: Given = {}) {
  const database = await createDatabase();
  const [receiver, other] = [await startReceiver(), await startReceiver()];
  onTestFinished(async () => {
    await Promise.all([receiver.close(), other.close()]);
    await database.drop();
  });
  const { sql, url } = database;
  await sql`create table item (id integer primary key, version integer default 1, note text)`;
  const subscribe = async (given: Given['subscription']) => {
    const [row] = await sql<{ id: number }[]>`
      insert into pgstream.webhook_subscriptions ${sql({ table_name: 'item', ...given })}
      returning id::integer`;
    return row!.id;
  };
  const id = await subscribe({ url: receiver.url, ...subscription });
  const start = async (more: Record<string, string> = {}) => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        ...env,
        ...more,
      },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  /** Changes a subscription, that of `receiver` where nothing else is said. */
  const configure = (columns: Record<string, string | number | boolean | null>, which = id) =>
    sql`update pgstream.webhook_subscriptions set ${sql(columns)} where id = ${which}`;
  const items = { url, sql, receiver, other, id, subscribe, configure, start };
  return { ...items, runner: await start() };
}

/** What an event tells: its action, key and version. */
function tellEvent(event: unknown): string {
  type Values = { value: number }[] | null;
  const { Data } = event as { Data: Record<'columns' | 'identity', Values> };
  const { action, columns, identity } = { action: '', ...Data };
  const values = (columns ?? identity ?? []).map(({ value }) => value);
  return [action, ...values.slice(0, columns ? 2 : 1)].join(' ');
}

/** The events of a request, alone or in an array. */
export const tell = ({ body }: Request): string[] =>
  [JSON.parse(body) as unknown].flat().map(tellEvent);

export const idOf = ({ headers }: Request) => headers['webhook-id'] as string;
export const accepted = ({ requests }: Receiver) =>
  requests.filter(({ status = 500 }) => status < 300);
/** All events that were accepted. */
export const arrivals = (receiver: Receiver) => accepted(receiver).flatMap(tell);

/** Expects that the versions of each row, as they first arrived, go up. */
export function expectRowsInOrder(events: readonly string[]): void {
  const last = new Map<string, number>();
  for (const event of new Set(events)) {
    const [, row = '', version] = event.split(' ');
    expect(Number(version), event).toBeGreaterThan(last.get(row) ?? 0);
    last.set(row, Number(version));
  }
}

/** Waits until all that is committed is confirmed. */
export async function confirmed(sql: TestDatabase['sql']): Promise<void> {
  const [now] = await sql<{ lsn: string }[]>`select pg_current_wal_insert_lsn() as lsn`;
  await eventually(async () => {
    const slots = await sql`
      select from pg_replication_slots
      where database = current_database() and confirmed_flush_lsn >= ${now!.lsn}::pg_lsn`;
    return slots.length;
  }, patience);
}

/** How many deliveries stand in the table. */
export async function stored(sql: TestDatabase['sql']): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::integer as count from pgstream.webhook_deliveries`;
  return row!.count;
}

/** Waits until all that is committed is accepted, and nothing stands in the table. */
export async function drained(sql: TestDatabase['sql']): Promise<void> {
  await confirmed(sql);
  await eventually(async () => (await stored(sql)) === 0, patience);
}
