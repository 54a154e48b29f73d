/**
 * Slots of wal2json: which tables the server is asked for, and that nothing is lost when more are
 * wanted than that.
 */
import postgres from 'postgres';
import { describe, expect, onTestFailed, onTestFinished, test } from 'vitest';
import { init } from '../../src/install/init.js';
import type { OutputPlugin } from '../../src/replication/plugin.js';
import { resolveConnection } from '../../src/settings/connection.js';
import { createDatabase } from '../helpers/database.js';
import { patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { hasWal2json } from '../helpers/wal2json.js';

async function setUp() {
  const database = await createDatabase();
  const receiver = await startReceiver();
  const { sql, url } = database;
  onTestFinished(async () => {
    await receiver.close();
    await database.drop();
  });
  const launch = (...args: string[]) => {
    const runner = startRunner(args, {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        PGSTREAM_POSTGRES_OUTPUT_PLUGIN: '',
      },
    });
    onTestFailed(() => console.error(runner.stderr));
    return runner;
  };
  const subscribe = (table: string, more: Record<string, unknown> = {}) => {
    const row = { url: receiver.url, schema_name: 'public', table_name: table, ...more };
    return sql`insert into pgstream.webhook_subscriptions ${sql(row)}`;
  };
  /** Starts a runner that recognises the slot by itself. */
  const start = async () => {
    const runner = launch('run');
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  const settled = async () => {
    const [now] = await sql<{ lsn: string }[]>`select pg_current_wal_flush_lsn() as lsn`;
    await eventually(async () => {
      const slots = await sql`
        select from pg_replication_slots
        where database = current_database() and confirmed_flush_lsn >= ${now!.lsn}::pg_lsn`;
      return slots.length;
    }, patience);
  };
  /** The ids of the rows that have arrived of a table, each request of one webhook-id once. */
  const got = async (table: string) => {
    await settled();
    const events = new Map(
      receiver.requests.map(({ headers, body }) => [headers['webhook-id'], body] as const),
    );
    return [...events.values()].flatMap((body) => {
      const { Data } = JSON.parse(body) as {
        Data: { table: string; columns: { value: unknown }[] | null };
      };
      return Data.table === table && Data.columns ? [Data.columns[0]!.value] : [];
    });
  };
  /** Waits until this is what the server was asked for. */
  const isAsked = (pattern: RegExp) =>
    eventually(async () => {
      const [walsender] = await sql<{ query: string }[]>`
        select query from pg_stat_activity
        where backend_type = 'walsender' and datname = current_database()`;
      if (!pattern.test(walsender?.query ?? '')) throw new Error(String(walsender?.query));
    }, patience);
  /** Runs statements as one transaction if they say so. */
  const writer = postgres(url, { max: 1, onnotice: () => undefined });
  onTestFinished(() => writer.end());
  const making = launch('init', '--output-plugin', 'wal2json');
  expect(await making.exited).toMatchObject({ code: 0 });
  return { sql, writer, receiver, launch, subscribe, start, got, isAsked };
}

describe('an output plugin', () => {
  test('that the server does not have is named, and nothing is left behind', async () => {
    const database = await createDatabase({ template: false });
    onTestFinished(() => database.drop());
    const quiet = () => undefined;
    const making = init({
      connection: resolveConnection(database.url, {}),
      slotName: 'other_plugin',
      parts: 'all',
      plugin: 'no_such_plugin' as OutputPlugin,
      onStep: quiet,
      onWarning: quiet,
    });
    await expect(making).rejects.toMatchObject({
      code: 'plugin_missing',
      message: 'the server does not have the output plugin no_such_plugin',
      hint: expect.stringContaining('Install it where Postgres runs'),
    });
    const left = await database.sql`
      select nspname as name from pg_namespace where nspname = 'pgstream'
      union all select pubname from pg_publication
      union all select slot_name from pg_replication_slots where slot_name = 'other_plugin'`;
    expect(left).toEqual([]);
  });

  test('that pgstream cannot read is refused before anything is done', async () => {
    const url = 'postgres://127.0.0.1:1/nowhere';
    const runner = startRunner(['init', '--pgurl', url, '--output-plugin', 'test_decoding']);
    expect((await runner.exited).code).toBe(2);
    expect(runner.stderr).toContain('flag --output-plugin: must be pgoutput or wal2json');
  });
});

describe.runIf(await hasWal2json('slots of wal2json'))('a slot of wal2json', () => {
  test('is made by init, recognised by run, and not taken for one of pgoutput', async () => {
    const { sql, launch, start, subscribe, got } = await setUp();
    expect((await launch('init').exited).code).toBe(0);
    const refused = launch('init', '--output-plugin', 'pgoutput');
    expect((await refused.exited).code).toBe(1);
    expect(refused.stderr).toMatch(/uses the output plugin wal2json, not pgoutput[^]*HINT/);
    await sql`create table item (id integer primary key)`;
    await subscribe('item');
    await start();
    await sql`insert into item values (1)`;
    expect(await got('item')).toEqual([1]);
    await subscribe('i*');
    await subscribe('item', { name: 'filtered', filter: `op = 'I'` });
    const check = launch('check');
    await check.exited;
    expect(check.stdout).toMatch(/NOTICE +changes of all tables are sent/);
    expect(check.stdout).toMatch(/NOTICE +filters and payloads take NaN/);
  });

  test('sends the tables that are subscribed to, and no others while each is named', async () => {
    const { sql, isAsked, start, subscribe, got } = await setUp();
    await sql.unsafe(`create table a (id integer primary key);
      create table "b c,d'e" (id integer primary key); create table other (id integer primary key)`);
    await subscribe('a');
    await start();
    await isAsked(/"add-tables" '(pgstream\.\w+,)+public\.a'/);
    await subscribe(`b c,d'e`);
    await sql`insert into "b c,d'e" values (1)`;
    expect(await got(`b c,d'e`)).toEqual([1]);
    await isAsked(/,public\.a,public\.b\\ c\\,d\\''e'/);
    await subscribe('', { schema_name: '', event_types: sql.array(['order.paid']) });
    await sql`insert into a values (2)`;
    expect(await got('a')).toEqual([2]);
    await isAsked(/,public\.a,public\.b/);
    await subscribe('o*');
    await sql`insert into other values (2)`;
    expect(await got('other')).toEqual([2]);
    await isAsked(/"filter-tables" '(pgstream\.\w+,?)+'/);
  });

  test('loses nothing of a table that is subscribed to while it is written, whoever is killed', async () => {
    const { sql, writer, start, subscribe, got, receiver } = await setUp();
    await sql`create table first (id integer primary key)`;
    await subscribe('first');
    let runner = await start();
    for (let round = 0; round < 4; round++) {
      const table = `round_${round}`;
      await sql`create table ${sql(table)} (id integer primary key)`;
      let isDone = false;
      let last = 0;
      const writing = (async () => {
        while (!isDone) await writer`insert into ${writer(table)} values (${++last})`;
      })();
      await eventually(() => last > 20, patience);
      await subscribe(table);
      const subscribedAt = last;
      if (round % 2 === 1) {
        await runner.kill();
        runner = await start();
      }
      await eventually(() => last > subscribedAt + 50, patience);
      if (round === 2) {
        await receiver.waitUntil((all) => all.some(({ body }) => body.includes(table)), patience);
        await runner.kill();
        runner = await start();
      }
      isDone = true;
      await writing;
      const ids = (await got(table)) as number[];
      const [from] = ids;
      expect(from).toBeGreaterThan(0);
      // One of these was under way when the subscription was made.
      expect(from).toBeLessThanOrEqual(subscribedAt + 1);
      expect(ids.toSorted((x, y) => x - y)).toEqual(
        Array.from({ length: last - from! + 1 }, (_, i) => from! + i),
      );
    }
  });

  test('sends the rows of partitions that come to be in the middle of a transaction', async () => {
    const { sql, writer, isAsked, start, subscribe, got } = await setUp();
    await sql`create table item (id integer primary key)`;
    await sql`create table a (id integer primary key)`;
    await subscribe('item');
    await subscribe('a');
    const runner = await start();
    await isAsked(/,public\.item,public\.a'/);
    await writer.unsafe(`
      begin;
      insert into a select generate_series(1, 3);
      insert into item values (1);
      drop table item;
      create table item (id integer primary key) partition by range (id);
      create table low partition of item for values from (0) to (10);
      insert into a values (4);
      insert into item values (2), (3);
      alter table a rename to b;
      insert into b values (5);
      commit`);
    await sql`insert into item values (4)`;
    expect(await got('item')).toEqual([1, 2, 3, 4]);
    expect(await got('a')).toEqual([1, 2, 3, 4]);
    await isAsked(/"filter-tables"/);
    await runner.kill();
    await start();
    await sql`insert into item values (5)`;
    expect(await got('item')).toEqual([1, 2, 3, 4, 5]);
  });

  test('sends everything where schema changes are not told of', async () => {
    const { sql, isAsked, start, subscribe, got } = await setUp();
    await sql`create table item (id integer primary key)`;
    await subscribe('item');
    await sql.unsafe(
      (await sql<{ name: string }[]>`select evtname as name from pg_event_trigger`)
        .map(({ name }) => `drop event trigger ${name};`)
        .join(' '),
    );
    const runner = await start();
    await isAsked(/"filter-tables"/);
    await sql.unsafe(`drop table item; create table item (id integer primary key) partition by range (id);
      create table low partition of item for values from (0) to (10)`);
    await sql`select pgstream.reconcile()`;
    await sql`insert into item values (1)`;
    expect(await got('item')).toEqual([1]);
    await runner.kill();
    await sql`create table short_lived (id integer primary key)`;
    await subscribe('short_lived');
    await sql`insert into short_lived values (1)`;
    await sql`drop table short_lived`;
    await sql`insert into item values (2)`;
    await start();
    expect(await got('item')).toEqual([1, 2]);
    // Its owner is a superuser; others have no right on what is gone.
    expect(await got('short_lived')).toEqual([1]);
  });
});
