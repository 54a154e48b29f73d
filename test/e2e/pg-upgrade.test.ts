/** pg_upgrade keeps oids and the numbers of columns, and gives the server another identity. */
import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/embedded/start.js';
import {
  accepted,
  arrivals,
  confirmed,
  drained,
  idOf,
  patience,
  stored,
} from '../helpers/items.js';
import { findUpgradable, prepareUpgrade } from '../helpers/pg-upgrade.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { idsIn } from '../helpers/schema-ids.js';
import { expectLogInStep } from '../helpers/schema-log.js';

const upgradable = await findUpgradable();
if (!upgradable) console.warn('no pg_upgrade of version 14 to 16 here: upgrades are not tested');

/** A cluster is made, upgraded and started twice. */
const timeout = 180_000;

async function startServer(dataDir: string) {
  const server = await startPostgres({ major: upgradable!.major, prefer: ['local'], dataDir });
  onTestFinished(() => server.stop('immediate'));
  const sql = postgres(server.url, { max: 2, onnotice: () => undefined });
  onTestFinished(() => sql.end({ timeout: 0 }));
  return { ...server, sql };
}

function pgstream(url: string, ...args: string[]) {
  const runner = startRunner(args, {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      PGSTREAM_INJECTOR_STORE_POSTGRES_URL: url,
    },
  });
  onTestFailed(() => console.error(args.join(' '), runner.stdout, runner.stderr.slice(-6_000)));
  return runner;
}

async function setUp() {
  const directories = await prepareUpgrade(upgradable!);
  onTestFinished(directories.remove);
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  const old = await startServer(directories.before);
  await pgstream(old.url, 'init').exited;
  return { ...directories, receiver, old };
}

test.skipIf(!upgradable)(
  'ids, the log and what waits survive; the slot does not, and that is said',
  { timeout },
  async () => {
    const { old, after, upgrade, receiver } = await setUp();
    await old.sql.unsafe(`
      create table item (id integer primary key, gone text, version integer default 1);
      alter table item drop gone;
      alter table item add note text;
      alter table item rename note to remark;
      create table other (a integer, b integer);
      alter table other drop b; alter table other add b integer;
      alter table other rename to renamed`);
    await old.sql`
      insert into pgstream.webhook_subscriptions (url, table_name) values (${receiver.url}, 'item')`;
    receiver.reply({ status: 503 });
    const runner = pgstream(old.url, 'run');
    await runner.waitForLog(/"streaming"/);
    await old.sql`insert into item values (1), (2)`;
    await eventually(async () => (await stored(old.sql)) === 2, patience);
    await confirmed(old.sql);
    await runner.kill('SIGTERM');
    const ids = await idsIn(old);
    const [last] = await old.sql`select max(version)::integer as version from pgstream.schema_log`;
    const waiting = await old.sql`
      select webhook_id as id from pgstream.webhook_deliveries order by commit_lsn, ordinal`;
    await old.sql.end();
    await old.stop();

    await upgrade();
    const { sql, url } = await startServer(after);
    expect(await idsIn({ sql })).toEqual(ids);
    await sql`alter table item add column added integer`;
    const { item, renamed } = await idsIn({ sql });
    expect(renamed).toEqual(ids['renamed']);
    expect(item).toEqual({
      id: ids['item']!.id,
      columns: { ...ids['item']!.columns, added: `${ids['item']!.id}-5` },
    });
    const [next] = await sql`select max(version)::integer as version from pgstream.schema_log`;
    expect(next!['version']).toBe(last!['version'] + 1);

    const refused = pgstream(url, 'run');
    expect(await refused.exited).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain('replication slot "pgstream_postgres_slot" does not exist');
    expect(refused.stderr).toContain('pgstream init --replication-slot pgstream_postgres_slot');
    expect(await sql`select slot_name, state from pgstream.replication_status`).toEqual([
      { slot_name: 'pgstream_postgres_slot', state: 'missing' },
    ]);
    await sql`insert into item values (3)`;
    const init = pgstream(url, 'init');
    expect(await init.exited).toMatchObject({ code: 0 });
    expect(init.stderr).toMatch(/what was committed between .* is not delivered/);

    receiver.reply({});
    await pgstream(url, 'run').waitForLog(/"streaming"/);
    await sql`insert into item values (4)`;
    await drained(sql);
    expect(arrivals(receiver)).toEqual(['I 1 1', 'I 2 1', 'I 4 1']);
    expect(accepted(receiver).map(idOf).slice(0, 2)).toEqual(waiting.map(({ id }) => id));
    await sql`select * from pgstream.reconcile()`;
    await expectLogInStep(sql);
    expect(await sql`select from pgstream.ddl_error where reconciled_at is null`).toHaveLength(0);
  },
);

test.skipIf(!upgradable)(
  'a slot that comes along, as from version 17 on, is accepted by init and not by itself',
  { timeout },
  async () => {
    const { old, after, upgrade, receiver } = await setUp();
    await old.sql`create table item (id integer primary key, version integer default 1)`;
    await old.sql`
      insert into pgstream.webhook_subscriptions (url, table_name) values (${receiver.url}, 'item')`;
    const runner = pgstream(old.url, 'run');
    await runner.waitForLog(/"streaming"/);
    await old.sql`insert into item values (1)`;
    await confirmed(old.sql);
    await runner.kill('SIGTERM');
    await old.sql.end();
    await old.stop();

    await upgrade();
    const { sql, url } = await startServer(after);
    // what pg_upgrade of version 17 does
    await sql`select pg_create_logical_replication_slot('pgstream_postgres_slot', 'pgoutput')`;
    const refused = pgstream(url, 'run');
    expect(await refused.exited).toMatchObject({ code: 1 });
    expect(refused.stderr).toMatch(/pgstream init .* accepts the gap/);
    expect(await pgstream(url, 'init').exited).toMatchObject({ code: 0 });
    await pgstream(url, 'run').waitForLog(/"streaming"/);
    await sql`insert into item values (2)`;
    await drained(sql);
    expect(arrivals(receiver)).toEqual(['I 1 1', 'I 2 1']);
    const [first, second] = accepted(receiver).map((each) => idOf(each).split('_')[1]);
    expect(second).not.toBe(first);
  },
);

test.skipIf(!upgradable)(
  'event triggers that went before the upgrade are made again after it, and nothing is missed',
  { timeout },
  async () => {
    const { old, after, upgrade } = await setUp();
    await old.sql.unsafe(`
      create schema app;
      create table app.kept (a integer, gone text, b integer);
      create table kept (a integer, gone text, b integer);
      alter table kept drop gone`);
    const ids = await idsIn(old);
    await old.sql`select pgstream.disable_ddl_capture()`;
    await old.sql.unsafe('alter table kept add c integer; drop table app.kept');
    await old.sql.end();
    await old.stop();

    await upgrade();
    const { sql } = await startServer(after);
    await sql`create table made (id integer)`;
    expect(await sql`select state from pgstream.status where subject = 'schema changes'`).toEqual([
      { state: 'reconciled' },
    ]);
    const logged = await sql`select schema_name from pgstream.enable_ddl_capture()`;
    expect([...logged]).toEqual([{ schema_name: 'app' }, { schema_name: 'public' }]);
    await expectLogInStep(sql);
    const { kept, made } = await idsIn({ sql });
    expect(kept).toEqual({
      id: ids['kept']!.id,
      columns: { ...ids['kept']!.columns, c: `${ids['kept']!.id}-4` },
    });
    await sql`alter table made add note text`;
    await expectLogInStep(sql);
    expect((await idsIn({ sql }))['made']!.id).toBe(made!.id);
  },
);
