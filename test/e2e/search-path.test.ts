/**
 * No statement of ours is captured by an object outside of pg_catalog, be it in the sessions of the
 * runner and of the command line, or in those of users who call our functions.
 */
import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { whereIs } from '../helpers/foreign.js';
import { confirmed, patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver, type Receiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { createShadows, marksOf } from '../helpers/shadows.js';
import { inState, request } from '../helpers/snapshots.js';

const pinned = { search_path: 'pg_catalog, pg_temp' };
const secret = `whsec_${randomBytes(32).toString('base64')}`;

/** All that differs by its nature: where in the log, and when. */
const timeless = (body: string) =>
  body
    .replaceAll(/"timestamp":"[^"]*"/g, '"timestamp":""')
    .replaceAll(/"lsn":"[^"]*"/g, '"lsn":""');

interface Life {
  readonly sql: postgres.Sql;
  /** With the settings of the database. */
  readonly user: postgres.Sql;
  readonly remote: TestDatabase;
  readonly url: string;
  readonly server: string;
  readonly receiver: Receiver;
  readonly cli: (...args: string[]) => Promise<void>;
}

/**
 * A life in a database of its own, from init to tear-down. Statements of the user hold no function and
 * no operator but ours, since those of others are theirs. `besides` is done before the end.
 */
async function live({
  prepare,
  besides,
}: {
  prepare?: (sql: postgres.Sql) => Promise<void>;
  besides?: (life: Life) => Promise<void>;
}) {
  const [database, remote] = [
    await createDatabase({ template: false }),
    await createDatabase({ template: false }),
  ];
  const receiver = await startReceiver();
  const sql = postgres(database.url, { max: 2, connection: pinned, onnotice: () => undefined });
  onTestFinished(async () => {
    await sql.end();
    await receiver.close();
    await database.drop();
    await remote.drop();
  });
  await prepare?.(sql);
  await sql.unsafe(`alter database ${database.name} set search_path = public, pg_catalog`);
  const user = postgres(database.url, {
    max: 1,
    onnotice: () => undefined,
    // Else the driver asks for them in the middle of what is done.
    fetch_types: false,
  });

  const env = {
    PGSTREAM_POSTGRES_LISTENER_URL: database.url,
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
    PGSTREAM_SECRET_KEY: Buffer.alloc(32, 'k').toString('base64'),
  };
  const cli = async (...args: string[]) => {
    const command = startRunner(args, { env });
    const { code } = await command.exited;
    const isDone = code === 0 || (args[0] === 'check' && code === 3);
    expect(isDone, `${args.join(' ')}: ${command.stderr}`).toBe(true);
  };

  await cli('init');
  await user.unsafe(`
    create schema app;
    create type public.mood as enum ('sad', 'ok');
    create type public.path as enum ('up', 'down');
    create table app.pairs (a integer, b text, note text, primary key (a, b));
    create table app.items (id integer primary key, class regclass, mood public.mood, note text,
      way public.path);
    create table app.classes (class regclass primary key);
    create table app.loose (v text, class regclass);
    create table public.named (id integer primary key);
    insert into app.pairs values (1, 'a'), (1, 'b'), (2, 'a');
    insert into app.items values (1, 'public.named', 'ok', 'there'), (2, 'app.pairs', 'sad', 'there');
    insert into app.classes values ('public.named'), ('app.pairs'), ('pg_class'), ('app.items');
    insert into app.loose values ('a', 'public.named'), ('b', 'app.pairs')`);
  await remote.sql.unsafe(`
    create table offer (id integer primary key, price numeric);
    insert into offer values (1, 1.5), (2, 2.5)`);

  const runner = startRunner(['run'], { env });
  onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
  const [, server] = await runner.waitForLog(/"url":"(http:[^"]+)"/);
  await runner.waitForLog(/"streaming"/);
  let isAway = true;
  receiver.reply(({ path }) => ({ status: isAway && path === '/away' ? 503 : 200 }));
  const all = `${receiver.url}/all`;
  await user`insert into pgstream.webhook_subscriptions ${user([
    { url: all, schema_name: 'app', secret },
  ])}`;
  await user`insert into pgstream.webhook_subscriptions ${user([
    {
      url: `${receiver.url}/chosen`,
      schema_name: 'app',
      table_name: 'items',
      filter: `new.id > 2 and new.note = 'new'`,
      payload: `jsonb_build_object('id', new.id, 'note', upper(new.note))`,
    },
  ])}`;
  await user`insert into pgstream.webhook_subscriptions ${user([
    { url: `${receiver.url}/business`, event_types: '{order.*}' },
  ])}`;
  await user`insert into pgstream.webhook_subscriptions ${user([
    { url: `${receiver.url}/away`, schema_name: 'app' },
  ])}`;
  const subscribe = async (path: string) => {
    const response = await fetch(`${server}/webhooks/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ url: `${receiver.url}/${path}`, schema: 'app', event_types: ['D'] }),
    });
    expect(response.ok).toBe(true);
  };
  await subscribe('subscribe');

  await user.unsafe(`insert into app.items values (3, 'app.items', 'ok', 'new')`);
  await user.unsafe(`alter table app.items add more text`);
  await user.unsafe(`update app.items set more = 'more'`);
  await user.unsafe(`delete from app.pairs`);
  await user.unsafe(`truncate app.loose`);
  await user.unsafe(`insert into app.loose values ('c', 'public.named'), (null, 'app.items')`);
  await user.unsafe(`insert into app.pairs values (1, 'a'), (1, 'b'), (2, 'a')`);
  await user`select pgstream.emit('order.paid', '{"id": 1}')`;
  await eventually(async () => {
    const [row] = await sql<{ count: number }[]>`
      select count(*)::integer as count from pgstream.webhook_deliveries`;
    expect(row!.count).toBeGreaterThan(5);
  }, patience);
  isAway = false;
  await user`select pgstream.replay(id) from pgstream.webhook_subscriptions`;
  const id = await request(sql, ['items', 'pairs', 'classes', 'loose'], {
    schema_name: 'app',
    chunk_rows: 2,
  });
  await inState(sql, id, 'done');

  await besides?.({ sql, user, remote, url: database.url, server: server!, receiver, cli });
  await subscribe('unsubscribe');
  await confirmed(sql);
  await eventually(async () => {
    expect(await sql`select from pgstream.webhook_deliveries`).toHaveLength(0);
  }, patience);
  expect((await runner.kill('SIGTERM')).code).toBe(0);
  expect(runner.stderr).not.toMatch(/"level":(50|60|"error"|"fatal")/);
  await cli('tear-down');
  await user.end();
  const bodies = receiver.requests
    .filter(({ status, path }) => status === 200 && path !== '/offers')
    .map(({ path, body }) => timeless(`${path} ${body}`));
  return { sql, bodies: [...new Set(bodies)].sort() };
}

/** What the command line, the server, the views and foreign databases do. */
async function everythingElse({ sql, user, remote, url, server, receiver, cli }: Life) {
  await Promise.all([
    cli('check'),
    cli('migrate', 'status'),
    cli('schema', 'log', 'app'),
    cli('schema', 'diff', '1', 'latest', '--schema', 'app'),
    cli('fixtures', 'app.items', 'named'),
    cli('fdw', '--remote', url, '--schema', 'app', '--all'),
    cli('snapshot', 'app.pairs'),
  ]);

  await user.unsafe(`select pgstream.import_foreign_database(server_name => 'shop',
    ${whereIs(remote.url)})`);
  await user`create schema cache`;
  await user`select pgstream.cache_foreign_table('shop.offer', 'cache.offer',
    refresh_every => '1 second')`;
  const offers = { url: `${receiver.url}/offers`, schema_name: 'cache' };
  await user`insert into pgstream.webhook_subscriptions ${user(offers)}`;
  await remote.sql`insert into offer values (3, 3.5)`;
  await receiver.waitUntil((all) => all.some(({ path }) => path === '/offers'), patience);
  await user`select pgstream.sync_foreign_database('shop')`;
  await user`call pgstream.refresh_due(true)`;
  await user`select pgstream.uncache_foreign_table('cache.offer')`;
  await user`select pgstream.drop_foreign_database('shop')`;

  const row = { id: 4, class: 'app.items' };
  const previews = [
    ...(await user`select * from pgstream.preview(1, ${user.json(row)}, relation => 'app.items')`),
    ...(await user`select * from pgstream.preview_changes(
      'insert into app.items values (9, ''public.named'')')`),
  ];
  const bodies = previews.map(({ body }) => body as string | null).filter((body) => body !== null);
  expect(bodies.join('\n')).toMatch(/"regclass","value":"app.items"[^]*"regclass","value":"named"/);
  expect(bodies.join()).toMatch(/"type":"mood".*"type":"public.path"/);
  const views = await sql<{ name: string }[]>`
    select relname as name from pg_class
    where relnamespace = 'pgstream'::regnamespace and relkind = 'v'`;
  for (const { name } of views) await user`table pgstream.${user(name)}`;
  for (const path of ['health', 'ready', 'status', 'metrics', 'webhooks']) {
    expect((await fetch(`${server}/${path}`)).status, path).toBe(200);
  }
  await user`select pgstream.refresh_schema('app')`;
  await user`select pgstream.reconcile()`;
  await user`select pgstream.sync_publications()`;
  await user`select pgstream.disable_ddl_capture()`;
  await user`select pgstream.enable_ddl_capture()`;
  await user`select pgstream.wait_delivered()`;
}

test('nothing that stands in public is called, whatever the search_path of the database is', async () => {
  const [calm, hostile] = await Promise.all([
    live({}),
    live({ prepare: createShadows, besides: everythingElse }),
  ]);
  expect(await marksOf(hostile.sql)).toEqual({ calls: false, marks: [] });
  expect(hostile.bodies).toEqual(calm.bodies);
  expect(calm.bodies.length).toBeGreaterThan(20);
  expect(calm.bodies.join()).toMatch(/"type":"mood","value":"ok".*"type":"public.path"/);
});
