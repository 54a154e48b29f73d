/** A database is dumped and restored: into servers of other versions, beside itself, over itself. */
import path from 'node:path';
import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { findPostgres } from '../../src/embedded/find.js';
import { startPostgres, type RunningPostgres } from '../../src/embedded/start.js';
import { createDatabase } from '../helpers/database.js';
import { dumpAndRestore } from '../helpers/dump.js';
import { accepted, arrivals, confirmed, drained, idOf, patience, tell } from '../helpers/items.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { idsIn } from '../helpers/schema-ids.js';
import { expectLogInStep } from '../helpers/schema-log.js';
import { databaseUrl } from '../helpers/template.js';

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

function connect(url: string): postgres.Sql {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => sql.end({ timeout: 0 }));
  return sql;
}

const isInstalled = (major: number) =>
  findPostgres({ major }).then(
    () => true,
    () => false,
  );

/** The start of a server takes its time. */
const timeout = 180_000;

/** What everybody, and roles of their own, may do with what is ours. */
const grants = (sql: postgres.Sql) => sql`
  select g.object, coalesce(r.rolname, 'public') as to, g.privilege
  from (
    select c.relname as object, a.grantee, a.privilege_type as privilege
    from pg_class c, aclexplode(c.relacl) a
    where c.relnamespace = 'pgstream'::regnamespace
    union all
    select p.proname, a.grantee, a.privilege_type
    from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where p.pronamespace = 'pgstream'::regnamespace
  ) g
  left join pg_roles r on r.oid = g.grantee
  where r.rolname is distinct from 'postgres'
  order by 1, 2, 3`;
const eventTriggers = (sql: postgres.Sql) => sql`
  select evtname as name, evtenabled as enabled from pg_event_trigger order by evtname`;
const published = (sql: postgres.Sql) => sql`
  select pubname as publication, tablename as table from pg_publication_tables order by 1, 2`;

test.for([14, 15, 16, 17, 18])(
  'ids are the same in version %i',
  { timeout },
  async (major, { skip }) => {
    const { from, receiver, run } = await setUp();
    const [own] = await from.sql<{ major: number }[]>`
    select current_setting('server_version_num')::integer / 10000 as major`;
    skip(major === own!.major, 'not another version');
    skip(major < own!.major && own!.major > 15, 'pg_dump writes what older servers do not know');
    skip(!(await isInstalled(major)), 'not installed: npm run test:matrix installs it');

    const role = `operator_${from.name}`;
    await from.sql.unsafe(`create table t (a integer primary key, gone integer, b integer);
    alter table t drop gone; create table u (id integer primary key);
    create role ${role}; select pgstream.grant_operator('${role}')`);
    onTestFinished(async () => {
      await from.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
    });
    await from.sql`
    insert into pgstream.webhook_subscriptions (url, table_name) values (${receiver.url}, 't')`;
    const runner = await run(from.url);
    await from.sql`alter table t add last integer`;
    await from.sql`alter table t drop last`;
    await confirmed(from.sql);
    await runner.kill();
    const before = await idsIn(from);

    const { url } = await startServer(major);
    const sql = connect(url);
    await sql.unsafe(`create role ${role}`);
    skip(!(await dumpAndRestore(from.url, url)), 'no pg_dump for this server');
    expect(await grants(sql)).toEqual(await grants(from.sql));
    expect(await eventTriggers(sql)).toEqual(await eventTriggers(from.sql));
    expect(await published(sql)).toEqual(await published(from.sql));
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

test('a copy that runs beside the original leaves it alone', { timeout }, async ({ skip }) => {
  const { from, receiver, run } = await setUp();
  await from.sql`create table t (id integer primary key, version integer default 1)`;
  await from.sql`
    insert into pgstream.webhook_subscriptions (url, table_name) values (${receiver.url}, 't')`;
  const original = await run(from.url);
  await from.sql`insert into t values (1)`;
  await confirmed(from.sql);
  const leases = (sql: postgres.Sql) => sql<{ epoch: string; pid: number }[]>`
    select epoch, (holder ->> 'pid')::integer as pid from pgstream.runner_lease
    where slot_name = (select 'pgstream_' || current_database() || '_slot')`;
  expect(await leases(from.sql)).toEqual([{ epoch: '1', pid: original.pid }]);

  const server = await startPostgres();
  onTestFinished(() => server.stop('immediate'));
  await connect(server.url).unsafe(`create database ${from.name}`);
  const url = databaseUrl(server.url, from.name);
  skip(!(await dumpAndRestore(from.url, url)), 'no pg_dump for this server');
  const sql = connect(url);
  const copy = await run(url);
  expect(await leases(sql)).toEqual([{ epoch: '2', pid: copy.pid }]);

  await Promise.all([sql`insert into t values (2)`, from.sql`insert into t values (3)`]);
  await Promise.all([drained(sql), drained(from.sql)]);
  expect(arrivals(receiver).toSorted()).toEqual(['I 1 1', 'I 2 1', 'I 3 1']);
  const clusters = accepted(receiver).map((request) => [
    tell(request)[0],
    /^evt_\w+?_/.exec(idOf(request))![0],
  ]);
  const {
    'I 1 1': first,
    'I 2 1': second,
    'I 3 1': third,
  } = Object.fromEntries(clusters) as Record<string, string>;
  expect(third).toBe(first);
  expect(second).not.toBe(first);
  expect(await leases(from.sql)).toEqual([{ epoch: '1', pid: original.pid }]);
});

test('over itself, the slot has to be made anew, and subscriptions stay', async ({ skip }) => {
  const { from, receiver, run } = await setUp();
  const { sql, name, url } = from;
  await sql`create table t (id integer primary key, version integer default 1)`;
  await sql`
    insert into pgstream.webhook_subscriptions (url, table_name) values (${receiver.url}, 't')`;
  const before = await run(url);
  await sql`insert into t values (1)`;
  await confirmed(sql);
  await before.kill('SIGTERM');
  const ids = await idsIn(from);
  skip(!(await dumpAndRestore(url, url, '--clean', '--if-exists')), 'no pg_dump for this server');

  const slot = `pgstream_${name}_slot`;
  const env = {
    PGSTREAM_POSTGRES_LISTENER_URL: url,
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
  };
  const [own] = await sql<{ major: number }[]>`
    select current_setting('server_version_num')::integer / 10000 as major`;
  // from 18 on, the server passes over the stretch of the log in which a publication was missing
  if (own!.major < 18) {
    const halted = startRunner(['run'], { env });
    await halted.waitForLog(
      new RegExp(`select pg_drop_replication_slot\\('${slot}'\\); then pgstream init`),
    );
    await halted.kill('SIGTERM');
  }
  await sql`select pg_drop_replication_slot(${slot})`;
  expect(await startRunner(['init'], { env }).exited).toMatchObject({ code: 0 });

  await run(url);
  await sql`insert into t values (2)`;
  await drained(sql);
  expect(arrivals(receiver)).toEqual(['I 1 1', 'I 2 1']);
  expect(await idsIn(from)).toEqual(ids);
  await expectLogInStep(sql);
});
