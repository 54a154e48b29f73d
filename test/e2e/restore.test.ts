/** A database is dumped and restored into servers of newer major versions. */
import path from 'node:path';
import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { findPostgres } from '../../src/embedded/find.js';
import { startPostgres, type RunningPostgres } from '../../src/embedded/start.js';
import { createDatabase } from '../helpers/database.js';
import { dumpAndRestore } from '../helpers/dump.js';
import { accepted, confirmed, patience } from '../helpers/items.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { idsIn } from '../helpers/schema-ids.js';
import { expectLogInStep } from '../helpers/schema-log.js';

/** Servers of npm packages are looked for from here on: those of the matrix, where installed. */
process.chdir(path.resolve(import.meta.dirname, '../matrix'));

async function setUp() {
  const from = await createDatabase();
  const receiver = await startReceiver();
  onTestFinished(async () => {
    await receiver.close();
    await from.drop();
  });
  const run = async (url: string) => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        PGSTREAM_INJECTOR_STORE_POSTGRES_URL: url,
      },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  return { from, receiver, run };
}

async function startServer(major: number): Promise<RunningPostgres> {
  const server = await startPostgres({ major, prefer: ['embedded', 'local'] });
  onTestFinished(() => server.stop('immediate'));
  return server;
}

const isInstalled = (major: number) =>
  findPostgres({ major }).then(
    () => true,
    () => false,
  );

/** The start of a server takes its time. */
const timeout = 180_000;

test.for([15, 16, 17, 18])(
  'ids are the same in version %i',
  { timeout },
  async (major, { skip }) => {
    const { from, receiver, run } = await setUp();
    const [own] = await from.sql<{ major: number }[]>`
    select current_setting('server_version_num')::integer / 10000 as major`;
    skip(major <= own!.major, 'not a newer version');
    skip(!(await isInstalled(major)), 'not installed: npm run test:matrix installs it');

    await from.sql.unsafe(`create table t (a integer primary key, gone integer, b integer);
    alter table t drop gone; create table u (id integer primary key)`);
    await from.sql`
    insert into pgstream.webhook_subscriptions (url, table_name) values (${receiver.url}, 't')`;
    const runner = await run(from.url);
    await from.sql`alter table t add last integer`;
    await from.sql`alter table t drop last`;
    await confirmed(from.sql);
    await runner.kill();
    const before = await idsIn(from);

    const { url } = await startServer(major);
    skip(!(await dumpAndRestore(from.url, url)), 'no pg_dump for this server');
    const sql = postgres(url, { max: 1, onnotice: () => undefined });
    onTestFinished(() => sql.end({ timeout: 0 }));
    await run(url);
    await sql`insert into t values (1, 2)`;
    await receiver.waitUntil((all) => all.length > 0, patience);
    const { Data: event } = JSON.parse(accepted(receiver)[0]!.body) as {
      Data: { columns: { id: string; name: string }[]; metadata: Record<string, string> };
    };
    expect(event.metadata['table_pgstream_id']).toBe(before['t']!.id);
    expect(Object.fromEntries(event.columns.map(({ name, id }) => [name, id]))).toEqual(
      before['t']!.columns,
    );

    await sql`alter table t add c integer`;
    const after = await idsIn({ sql });
    expect(after).toEqual({
      ...before,
      t: { ...before['t'], columns: { ...before['t']!.columns, c: `${before['t']!.id}-5` } },
    });
    await sql`select * from pgstream.reconcile()`;
    await expectLogInStep(sql);
    expect(await sql`select from pgstream.ddl_error where reconciled_at is null`).toHaveLength(0);
  },
);
