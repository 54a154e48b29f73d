import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { eventually } from '../helpers/poll.js';

let database: TestDatabase;
let sql: postgres.Sql;
let count = 0;

beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
  await sql`select pgstream.create_publications()`;
});
afterAll(() => database.drop());
afterEach(async () => void (await sql`delete from pgstream.webhook_subscriptions`));

/** One connection whose unqualified names are those of a schema. */
function session(schema: string): postgres.Sql {
  const connection = { search_path: schema };
  const own = postgres(database.url, { max: 1, onnotice: () => undefined, connection });
  onTestFinished(() => own.end({ timeout: 0 }));
  return own;
}

/** A new schema with a connection to it, and, if asked for, a subscription to all its tables. */
async function newSchema({ watched }: { watched: boolean }) {
  const schema = `schema_${++count}`;
  await sql`create schema ${sql(schema)}`;
  if (watched) await subscribe(schema, '');
  const own = session(schema);
  const [backend] = await own<{ pid: number }[]>`select pg_backend_pid() as pid`;
  return { schema, own, pid: backend!.pid };
}

const subscribe = (
  schema: string,
  table: string,
  types: string[] | null = null,
  by: postgres.ISql = sql,
) =>
  by`
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name, event_types)
    values ('http://localhost/hook', ${schema}, ${table}, ${types})`.execute();

/** `insert:t`, `update:t` and so on for what our publications hold of a schema. */
async function published(schema: string): Promise<string[]> {
  const rows = await sql<{ entry: string }[]>`
    select format('%s:%s', substr(p.pubname, 10), c.relname) as entry
    from pg_publication_rel r
    join pg_publication p on p.oid = r.prpubid
    join pg_class c on c.oid = r.prrelid
    where p.pubname like 'pgstream%' and c.relnamespace = ${schema}::regnamespace
    order by 1`;
  return rows.map(({ entry }) => entry);
}

/** What users do all the time, and Postgres refuses where a replica identity is missing. */
async function writeTo(own: postgres.Sql, table: string): Promise<void> {
  await own.unsafe(`insert into ${table} (n) values (1), (2)`);
  await own.unsafe(`update ${table} set n = 3 where n = 1`);
  await own.unsafe(`update ${table} set n = 3 where false`);
  await own.unsafe(`delete from ${table} where n = 3`);
  await own.unsafe(`delete from ${table} where false`);
}

/** Resolves when a backend has been waiting for a lock for so long, or the work has ended. */
async function stuck(pid: number, forAtLeast: string, work: Promise<unknown>): Promise<void> {
  let ended = false;
  void work.catch(() => undefined).finally(() => (ended = true));
  await eventually(async () => {
    const waits = await sql`
      select from pg_locks
      where pid = ${pid} and not granted and clock_timestamp() - waitstart > ${forAtLeast}::interval`;
    return ended || waits.length > 0;
  });
}

describe('what is published', () => {
  test('only tables that some subscription can match', async () => {
    const { schema, own } = await newSchema({ watched: false });
    await own.unsafe('create table "A b" (id int primary key); create table other (id int)');
    expect(await published(schema)).toEqual([]);
    await subscribe(schema, 'A b');
    expect(await published(schema)).toEqual(['insert:A b', 'update:A b']);
    await sql`delete from pgstream.webhook_subscriptions`;
    expect(await published(schema)).toEqual([]);
  });

  test.each([
    { types: ['I'], expected: ['insert:t'] },
    { types: ['T'], expected: ['insert:t'] },
    { types: ['U'], expected: ['update:t'] },
    { types: ['D'], expected: ['update:t'] },
    { types: ['I', 'D'], expected: ['insert:t', 'update:t'] },
    { types: [], expected: ['insert:t', 'update:t'] },
  ])('a subscription to $types publishes $expected', async ({ types, expected }) => {
    const { schema, own } = await newSchema({ watched: false });
    await own.unsafe('create table t (id int primary key)');
    await subscribe(schema, 't', types);
    expect(await published(schema)).toEqual(expected);
    await sql`update pgstream.webhook_subscriptions set event_types = '{I}'`;
    expect(await published(schema)).toEqual(['insert:t']);
  });

  test('permanent tables as they are created, moved, renamed or made logged', async () => {
    const { schema, own } = await newSchema({ watched: true });
    const elsewhere = await newSchema({ watched: false });
    await elsewhere.own.unsafe('create table moved (n int)');
    await own.unsafe('create temp table mine (n int); create unlogged table fast (n int)');
    await own.unsafe('create table made (n int); create table copied as select 1 as n');
    expect(await published(schema)).toEqual(['insert:copied', 'insert:made']);
    await own.unsafe('alter table fast set logged; alter table made rename to "made/2"');
    await own.unsafe(`alter table ${elsewhere.schema}.moved set schema ${schema}`);
    const tables = ['copied', 'fast', 'made/2', 'moved'];
    expect(await published(schema)).toEqual(tables.map((table) => `insert:${table}`));
  });

  test('no longer those that leave what a subscription names', async () => {
    const { schema, own } = await newSchema({ watched: false });
    const elsewhere = await newSchema({ watched: false });
    await own.unsafe('create table a (n int); create table b (n int)');
    await subscribe(schema, 'a');
    await subscribe(schema, 'b');
    await own.unsafe(`alter table a rename to c; alter table b set schema ${elsewhere.schema}`);
    expect([...(await published(schema)), ...(await published(elsewhere.schema))]).toEqual([]);
    await own.unsafe('alter table c rename to a');
    expect(await published(schema)).toEqual(['insert:a']);
    await own.unsafe(`alter schema ${schema} rename to ${schema}_away`);
    expect(await published(`${schema}_away`)).toEqual([]);
    await own.unsafe(`alter schema ${schema}_away rename to ${schema}`);
    expect(await published(schema)).toEqual(['insert:a']);
  });

  test('of a partitioned table only the root', async () => {
    const { schema, own } = await newSchema({ watched: true });
    await own.unsafe(`${parted} create table p partition of t for values from (0) to (9)`);
    expect(await published(schema)).toEqual(['insert:t']);
    await own.unsafe('alter table t detach partition p');
    expect(await published(schema)).toEqual(['insert:p', 'insert:t']);
  });

  test('a thousand tables by one subscription', { timeout: 120_000 }, async () => {
    const { schema, own } = await newSchema({ watched: false });
    await own.unsafe(`set pgstream.skip_log = on; do $$ begin
      for i in 1..1000 loop execute format('create table t%s (n int primary key)', i); end loop;
    end $$`);
    const start = performance.now();
    await subscribe(schema, '*');
    const all = performance.now();
    await own.unsafe('create table one_more (n int primary key)');
    const [first, second] = [all - start, performance.now() - all].map(Math.round);
    if (first! > 5_000) console.warn(`publishing 1,000 tables took ${first} ms`);
    if (second! > 5_000) console.warn(`one more table beside 1,000 took ${second} ms`);
    expect(await published(schema)).toHaveLength(2002);
  });
});

const keyed = 'create table t (id int generated always as identity primary key, n int);';
const full = 'create table t (n int); alter table t replica identity full;';
const indexed = `create table t (id serial not null, n int); create unique index i on t (id);
  alter table t replica identity using index i;`;
const parted = 'create table t (id int default 1, n int) partition by range (id);';
const partedFull = `${parted} alter table t replica identity full;`;
const partedTwice = `${partedFull}
  create table p partition of t for values from (0) to (9) partition by list (id);
  alter table p replica identity full; create table q (id int, n int);`;
const keyOfDomain = `create domain key as text;
  create table t (id key default gen_random_uuid() primary key, n int);`;
const dropKey = 'alter table t drop constraint t_pkey';

test.each([
  ['the primary key is dropped', keyed, dropKey],
  ['the column of the primary key is dropped', keyed, 'alter table t drop column id'],
  ['the type of the primary key is dropped', keyOfDomain, 'drop domain key cascade'],
  ['the primary key is made deferrable', keyed, `${dropKey}, add primary key (id) deferrable`],
  ['it is turned off', keyed, 'alter table t replica identity nothing'],
  ['FULL is taken back', full, 'alter table t replica identity default'],
  ['its index is dropped', indexed, 'drop index i'],
  ['the column of its index is dropped', indexed, 'alter table t drop column id'],
  ['a partition comes without', partedFull, 'create table p partition of t default'],
  ['a partition is attached without', partedTwice, 'alter table p attach partition q default'],
  ['nothing is logged', `set pgstream.skip_log = on; ${keyed}`, dropKey],
  ['the session is a replica', `set session_replication_role = replica; ${keyed}`, dropKey],
  ['a setting of ours is wrong', keyed, `set pgstream.lock_timeout = 'soon'; ${dropKey}`],
])('a table stays writable when its identity is lost: %s', async (_, before, loss) => {
  const { schema, own } = await newSchema({ watched: true });
  await own.unsafe(before);
  expect(await published(schema)).toContain('update:t');
  await own.unsafe(loss);
  await writeTo(own, 't');
  expect((await published(schema)).filter((entry) => entry.startsWith('update'))).toEqual([]);
});

test.each([
  ['a primary key is added', 'create table t (n int)', 'alter table t add primary key (n)'],
  ['FULL is chosen', 'create table t (n int)', 'alter table t replica identity full'],
  [
    'the partition without it goes',
    `${partedFull} create table p partition of t default`,
    'drop table p',
  ],
])('a table is published for updates when it gains an identity: %s', async (_, before, gain) => {
  const { schema, own } = await newSchema({ watched: true });
  await own.unsafe(before);
  expect(await published(schema)).toEqual(['insert:t']);
  await own.unsafe(gain);
  expect(await published(schema)).toEqual(['insert:t', 'update:t']);
});

describe('a table stays writable when its identity is lost', () => {
  test('in the same transaction, by an owner without any right on pgstream', async () => {
    const { schema, own } = await newSchema({ watched: true });
    await sql.unsafe(`create role plain_owner; grant all on schema ${schema} to plain_owner`);
    await own.unsafe(`set role plain_owner; ${keyed}`);
    await own.unsafe(`begin; insert into t (n) values (1); ${dropKey}; update t set n = 2; commit`);
    await writeTo(own, 't');
    expect(await published(schema)).toEqual(['insert:t']);
    await sql.unsafe('drop owned by plain_owner; drop role plain_owner');
  });

  test('while another table that ought to be published is locked', async () => {
    const { schema, own } = await newSchema({ watched: true });
    await own.unsafe(`${keyed} create table busy (n int); set pgstream.lock_timeout = '50ms'`);
    await sql.unsafe(`alter publication pgstream_insert drop table ${schema}.busy`);
    await session(schema).begin(async (writer) => {
      await writer`insert into busy values (1)`;
      await own.unsafe(dropKey);
      await writeTo(own, 't');
    });
  });

  test('while the publications are locked for longer than the user waits for locks', async () => {
    const { own, pid } = await newSchema({ watched: true });
    const elsewhere = await newSchema({ watched: true });
    await own.unsafe(`${keyed} set lock_timeout = '50ms'; set pgstream.lock_timeout = '50ms'`);
    await elsewhere.own.begin(async (other) => {
      await other`create table o (n int primary key)`;
      const altering = own.unsafe(dropKey).execute();
      await stuck(pid, '300 ms', altering);
    });
    await writeTo(own, 't');
  });
});

describe('subscribing to tables that others write', () => {
  test('fails after pgstream.lock_timeout with a hint while a writer stays open', async () => {
    const { schema, own } = await newSchema({ watched: false });
    await own.unsafe('create table t (n int)');
    const by = session(schema);
    await by.unsafe(`set pgstream.lock_timeout = '100ms'`);
    await own.begin(async (writer) => {
      await writer`insert into t values (1)`;
      await expect(subscribe(schema, 't', null, by)).rejects.toMatchObject({
        code: '55P03',
        message: expect.stringContaining('t is in use by another transaction'),
        hint: expect.stringContaining('set pgstream.lock_timeout'),
      });
    });
    await subscribe(schema, 't', null, by);
    expect(await published(schema)).toEqual(['insert:t']);
  });

  test.each([
    ['a table that the subscription covers too', '?', 'insert into a values (1)'],
    ['a row that the subscriber has changed', 'b', 'update u set n = 2'],
  ])('makes no writer the victim of a deadlock over %s', async (_, tables, statement) => {
    const { schema, own, pid } = await newSchema({ watched: false });
    await own.unsafe(
      'create table a (n int); create table b (n int); create table u as select 1 n',
    );
    const by = session(schema);
    const [backend] = await by<{ pid: number }[]>`select pg_backend_pid() as pid`;
    await by.unsafe(`set pgstream.lock_timeout = '2500ms'`);
    await own.begin(async (writer) => {
      await writer`insert into b values (1)`;
      const subscribing = by.begin(async (subscriber) => {
        await subscriber`update u set n = 3`;
        if (tables === '?') await subscriber`lock table a in share row exclusive mode`;
        await subscribe(schema, tables, null, subscriber);
      });
      const refused = subscribing.catch((error: unknown) => error);
      await eventually(async () => {
        const active = await sql`
          select from pg_stat_activity
          where pid = ${backend!.pid} and state = 'active' and query ~ 'webhook_subscriptions'`;
        return active.length > 0;
      });
      const writing = writer.unsafe(statement).execute();
      await stuck(pid, '1200 ms', writing);
      await writing;
      expect(await refused).toMatchObject({ code: '55P03' });
    });
  });

  test('succeeds for many sessions at once', async () => {
    const { schema, own } = await newSchema({ watched: false });
    const names = Array.from({ length: 10 }, (_, i) => `t${i}`);
    for (const name of names) await own.unsafe(`create table ${name} (n int primary key)`);
    await Promise.all(names.map((name) => subscribe(schema, name, null, session(schema))));
    expect(await published(schema)).toHaveLength(20);
  });
});
