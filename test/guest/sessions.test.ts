import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { TestDatabase } from '../helpers/database.js';
import { clean, createPair, subscribe, type Pair } from './pair.js';
import { inPart, part } from './part.js';
import { openSession, type Session } from './session.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.drop());
afterEach(async () => {
  const pids = open.map(({ pid }) => pid);
  await pair.guest.sql`select pg_terminate_backend(pid) from unnest(${pids}::int[]) pid`;
  await Promise.all(open.splice(0).map((own) => own.close()));
  await clean(database);
  await subscribe(pair.guest);
});

/** Where the sessions of the test that runs are. */
let database: TestDatabase;

/** Sessions of the test that runs. */
const open: Session[] = [];

/** Each may take twice as long as what we may wait for, and no more. */
const bounds = [`statement_timeout = '4s'`, `deadlock_timeout = '100ms'`];

async function session(...settings: string[]): Promise<Session> {
  const opened = await openSession(database.url);
  open.push(opened);
  for (const setting of [...bounds, ...settings]) await opened.run(`set ${setting}`);
  return opened;
}

/** Runs statements one after the other; none may fail, whatever it is warned of. */
async function run(own: Session, ...statements: string[]): Promise<void> {
  for (const statement of statements) {
    const said = await own.run(statement);
    expect([statement, said.filter((line) => /^(ERROR|FATAL)/.test(line))]).toEqual([
      statement,
      [],
    ]);
  }
}

const tables = (...names: string[]) =>
  names.map(
    (name) => `create table ${name} (id int primary key, v int); insert into ${name} values (1, 1)`,
  );

type Scene = readonly [name: string, scene: () => Promise<void>];

/** What two sessions do at once, none of which waits for the other for long without pgstream. */
const scenes: readonly Scene[] = [
  [
    'two transactions make tables in one schema',
    async () => {
      const [one, other] = [await session(), await session()];
      await run(one, 'begin', 'create table a (id int primary key)');
      await run(other, 'create table b (id int primary key)', 'begin', 'create table c (id int)');
      await run(one, 'create table d (id int)', 'commit');
      await run(other, 'commit');
    },
  ],
  [
    'two transactions make tables in two schemas, each in the order of the other',
    async () => {
      const [one, other] = [await session(), await session()];
      await run(one, 'create schema s1; create schema s2', 'begin', 'create table s1.a ()');
      await run(other, 'begin', 'create table s2.b ()');
      await Promise.all([
        run(one, 'create table s2.c ()', 'commit'),
        run(other, 'create table s1.d ()', 'commit'),
      ]);
    },
  ],
  [
    'two transactions drop the keys of two tables, and one writes the other table',
    async () => {
      const [one, other] = [await session(), await session()];
      await run(one, ...tables('a', 'b'));
      await run(one, 'begin', 'alter table a drop constraint a_pkey');
      const dropped = run(other, 'begin', 'alter table b drop constraint b_pkey', 'commit');
      await run(one, 'update b set v = 2', 'commit');
      await dropped;
      await run(one, 'update a set v = 3', 'update b set v = 3', 'delete from a');
    },
  ],
  [
    'keys are dropped while somebody has dropped another one and stays',
    async () => {
      const [one, other] = [await session(), await session()];
      await run(one, ...tables('a', 'b', 'c'));
      await run(one, 'begin', 'alter table a drop constraint a_pkey');
      await run(other, 'begin', 'lock table c');
      const dropped = run(other, 'alter table b drop constraint b_pkey', 'commit');
      await run(one, 'select * from a', 'commit');
      await dropped;
      await run(other, 'update b set v = 2', 'update a set v = 2');
    },
  ],
  [
    'two transactions alter partitions of one table, each that of the other then',
    async () => {
      const [one, other] = [await session(), await session()];
      await run(
        one,
        'create table p (id int, v int) partition by range (id)',
        'create table p1 partition of p for values from (1) to (10)',
        'create table p2 partition of p for values from (10) to (20)',
      );
      await run(one, 'begin', 'alter table p1 add primary key (id)');
      await run(other, 'begin', 'alter table p2 add primary key (id)', 'commit');
      await run(one, 'insert into p2 values (11)', 'commit');
    },
  ],
  [
    'a partition is altered while another one is locked',
    async () => {
      const [holder, other] = [await session(), await session()];
      await run(
        other,
        'create table p (id int primary key, v int) partition by range (id)',
        'create table p1 partition of p for values from (1) to (10)',
        'create table p2 partition of p for values from (10) to (20)',
      );
      await run(holder, 'begin', 'lock table p1');
      await run(
        other,
        'alter table p2 replica identity full',
        'alter table p2 set (fillfactor = 50)',
      );
      await run(holder, 'commit');
    },
  ],
  [
    'tables are made while somebody without rights holds advisory locks named like ours',
    async () => {
      const holder = await openSession(database.url, 'guest_stranger');
      open.push(holder);
      const other = await session();
      await run(
        holder,
        `select pg_advisory_lock(hashtextextended(format('pgstream.%s', k), 0))
         from unnest('{membership,publications,schema_log.app,adopt,reconcile}'::text[]) k`,
      );
      // None of it is even late: what could not be followed would be a warning.
      const said = await other.run('create table a (id int primary key)');
      expect(said).toEqual(['CREATE TABLE']);
    },
  ],
  ...['statement_timeout', 'lock_timeout', 'transaction_timeout'].map(
    (setting) =>
      [
        `a table is made under a ${setting} while another one is being made`,
        async () => {
          if (setting === 'transaction_timeout' && pair.version < 17) return;
          const [holder, other] = [await session(), await session(`${setting} = '500ms'`)];
          await run(holder, 'begin', 'create table a (id int primary key)');
          await run(other, 'create table b (id int primary key)', 'drop table b');
          await run(holder, 'commit');
        },
      ] as const,
  ),
  [
    'a key is dropped under a statement_timeout while another one is being dropped',
    async () => {
      const [holder, other] = [await session(), await session(`statement_timeout = '500ms'`)];
      await run(holder, ...tables('a', 'b'));
      await run(holder, 'begin', 'alter table a drop constraint a_pkey');
      await run(other, 'alter table b drop constraint b_pkey');
      await run(holder, 'commit');
      await run(other, 'update b set v = 2', 'delete from b');
    },
  ],
  [
    'an index is built beside a transaction that makes tables in another schema',
    async () => {
      const [holder, other] = [await session(), await session()];
      await run(other, 'create schema s1', ...tables('a'));
      await run(holder, 'set search_path = s1', 'begin', 'create table b (id int primary key)');
      await run(other, 'create table c (id int)');
      await run(holder, 'commit');
      await run(other, 'create index concurrently by_v on a (v)', 'drop index concurrently by_v');
    },
  ],
  [
    'a prepared transaction has made a table',
    async () => {
      const [one, other] = [await session(), await session()];
      await run(one, ...tables('a'));
      await run(one, 'begin', 'create table b (id int)', `prepare transaction 'guest_open'`);
      await run(other, 'create table c (id int primary key)', 'update a set v = 2', 'drop table c');
      await run(one, `commit prepared 'guest_open'`, 'insert into b values (1)');
    },
  ],
];

/** What sessions do while others do something to pgstream. */
const scenesOfOurs: readonly Scene[] = [
  [
    'tables are made, altered and dropped while a subscription is being made',
    async () => {
      const [subscriber, other] = [await session(), await session()];
      await run(other, ...tables('a', 'b', 'kept'));
      await run(
        subscriber,
        'begin',
        `insert into pgstream.webhook_subscriptions (url, schema_name, table_name, event_types)
         values ('http://127.0.0.1:9/filtered', 'app', 'kept', '{I}')`,
      );
      await run(
        other,
        'create table c (id int primary key)',
        'alter table a add column w int',
        'alter table b drop constraint b_pkey',
        'update b set v = 2',
        'drop table a',
      );
      await run(subscriber, 'rollback');
    },
  ],
  [
    'tables are made and altered while somebody holds our tables',
    async () => {
      const [holder, other] = [await session(), await session()];
      await run(other, ...tables('a', 'b'));
      for (const table of ['webhook_subscriptions', 'schema_log', 'table_ids', 'ddl_error']) {
        await run(holder, 'begin', `lock table pgstream.${table} in access exclusive mode`);
        await run(
          other,
          `create table c_${table} (id int primary key)`,
          'alter table a add column w int, alter column v type bigint',
          `alter table c_${table} drop constraint c_${table}_pkey`,
          `update c_${table} set id = 2`,
          'alter table a drop column w',
        );
        await run(holder, 'commit');
      }
    },
  ],
  [
    'a key is dropped while somebody holds the subscriptions',
    async () => {
      const [holder, other] = [await session(), await session()];
      await run(other, ...tables('a'));
      await run(holder, 'begin', 'lock table pgstream.webhook_subscriptions');
      await run(
        other,
        'alter table a drop constraint a_pkey',
        'update a set v = 2',
        'delete from a',
      );
      await run(holder, 'commit');
    },
  ],
];

describe(`sessions beside each other neither fail nor wait for each other because of us (${part})`, () => {
  test.each(inPart(scenes))('%s: without pgstream', (_, scene) => {
    database = pair.without;
    return scene();
  });

  test.each(inPart([...scenes, ...scenesOfOurs]))('%s', (_, scene) => {
    database = pair.guest;
    return scene();
  });
});
