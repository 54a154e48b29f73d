/** Without event triggers, the runner finds out by itself that schemas have changed. */
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { accepted, patience, type Request } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { expectLogInStep } from '../helpers/schema-log.js';

interface Given {
  template?: boolean;
  /** How often the runner looks. */
  interval: string;
  /** Makes the database ready, and returns the url that the runner connects with. */
  prepare: (database: TestDatabase) => Promise<string>;
}

async function setUp({ template = true, interval, prepare }: Given) {
  const database = await createDatabase({ template });
  const receiver = await startReceiver();
  onTestFinished(async () => {
    await receiver.close();
    await database.drop();
  });
  const runner = startRunner(['run', '--init'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: await prepare(database),
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      PGSTREAM_SCHEMA_RECONCILE_INTERVAL: interval,
    },
  });
  onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
  await runner.waitForLog(/"streaming"/);
  const { sql } = database;
  await sql`
    insert into pgstream.webhook_subscriptions (url, schema_name, inject_metadata)
    values (${receiver.url}, 'public', true)`;
  /** The numbers of the columns in the event of a row, by the version that it was sent with. */
  const columnIds = async (id: number) => {
    await receiver.waitUntil(() => accepted(receiver).some((each) => rowOf(each) === id), patience);
    const found = accepted(receiver).find((each) => rowOf(each) === id)!;
    return columnsOf(found).map((column) => [column.name, column.id.replace(/^.*-/, '')]);
  };
  const isPublished = (table: string) =>
    eventually(async () => {
      const rows = await sql`select from pg_publication_tables where tablename = ${table}`;
      if (rows.length === 0) throw new Error(`${table} is not published`);
    }, patience);
  return { sql, receiver, runner, columnIds, isPublished };
}

interface Column {
  id: string;
  name: string;
  value: unknown;
}
const columnsOf = ({ body }: Request) =>
  (JSON.parse(body) as { Data: { columns: Column[] } }).Data.columns;
const rowOf = (request: Request) => columnsOf(request).find(({ name }) => name === 'id')?.value;

/** A table of items, and no event triggers: installing makes them, so they go when that is done. */
async function setUpDisabled(interval: string) {
  const world = await setUp({
    interval,
    async prepare({ sql, url }) {
      await sql`create table item (id integer primary key)`;
      return url;
    },
  });
  await world.sql`select pgstream.disable_ddl_capture()`;
  return world;
}

test('what is made and altered is found by looking now and then', async () => {
  const { sql, columnIds, isPublished } = await setUpDisabled('100ms');
  await sql`create table made (id integer primary key)`;
  await isPublished('made');
  await sql`insert into made values (1)`;
  expect(await columnIds(1)).toEqual([['id', '1']]);
  await sql`alter table made add column note text`;
  await eventually(() => expectLogInStep(sql), patience);
  await sql`insert into made values (2)`;
  expect(await columnIds(2)).toEqual([
    ['id', '1'],
    ['note', '2'],
  ]);
});

test('a row of another shape than the version in force has the schemas compared at once', async () => {
  const { sql, columnIds } = await setUpDisabled('1h');
  await sql`insert into item values (1)`;
  expect(await columnIds(1)).toEqual([['id', '1']]);
  await sql`alter table item add column note text`;
  await sql`insert into item values (2)`;
  await eventually(() => expectLogInStep(sql), patience);
  await sql`insert into item values (3)`;
  expect(await columnIds(3)).toEqual([
    ['id', '1'],
    ['note', '2'],
  ]);
});

test('a role that may not create event triggers installs, and its runner looks', async () => {
  const role = `runner_${Date.now()}`;
  const { sql, runner, columnIds, isPublished } = await setUp({
    template: false,
    interval: '100ms',
    async prepare({ sql, name, url }) {
      await sql.unsafe(`create role ${role} login replication;
        grant create on database ${name} to ${role}; grant create on schema public to ${role}`);
      const other = new URL(url);
      other.username = role;
      return other.href;
    },
  });
  onTestFinished(async () => {
    await runner.kill();
    await sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
  });
  expect(await sql`select state from pgstream.status where subject = 'schema changes'`).toEqual([
    { state: 'reconciled' },
  ]);
  await sql.unsafe(`create table made (id integer primary key); alter table made owner to ${role}`);
  await isPublished('made');
  await sql`insert into made values (1)`;
  expect(await columnIds(1)).toEqual([['id', '1']]);
});

test('what keeps the schemas from being compared is said, and keeps nothing else', async () => {
  const { sql, runner, columnIds } = await setUpDisabled('100ms');
  await sql`alter table pgstream.schema_state rename to elsewhere`;
  await runner.waitForLog(/cannot reconcile the schema log/);
  await sql`insert into item values (1)`;
  expect(await columnIds(1)).toEqual([['id', '1']]);
  await sql`alter table pgstream.elsewhere rename to schema_state`;
  await sql`alter table item add column note text`;
  await eventually(() => expectLogInStep(sql), patience);
});
