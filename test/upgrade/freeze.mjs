// Freezes a database of the version that is checked out, as it stands after some life: with
// subscriptions of every kind, deliveries that wait, are dead or denied, a snapshot half done,
// cached tables, secrets and roles. What goes into the directory that is named is plain SQL that
// servers from 14 on take: roles.sql, depot.sql (the database that is imported) and, since most of
// it is code, database.sql.gz. upgrade.test.ts restores and upgrades it.
//
//   git worktree add ../frozen COMMIT && cd ../frozen && npm run setup
//   node test/upgrade/freeze.mjs test/upgrade/COMMIT
//
// 087158e/ was made by this script with 087158e checked out, on PostgreSQL 14.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import postgres from 'postgres';

const here = import.meta.dirname;
const root = path.join(here, '../..');
const [directory] = process.argv.slice(2);
if (!directory) throw new Error('say where to: node test/upgrade/freeze.mjs DIRECTORY');
const target = path.resolve(directory);
/** What stands in the dumps for the addresses here. */
const receiverPort = 9910;
const serverPort = 5432;
const secretKey = Buffer.alloc(32, 'frozen').toString('base64');

const { startPostgres } = await import(path.join(root, 'dist/embedded/start.js'));
process.chdir(path.join(root, 'test/matrix')); // packages are looked for from here on

const receiver = http.createServer(async (request, response) => {
  const body = await text(request);
  const { url = '' } = request;
  const refuses = url.startsWith('/picky') && body.includes('"value":13');
  const status = url.startsWith('/gone') ? 410 : url.startsWith('/down') || refuses ? 503 : 200;
  response.writeHead(status).end();
});
await once(receiver.listen(0, '127.0.0.1'), 'listening');
const receiverUrl = `http://127.0.0.1:${receiver.address().port}`;

const server = await startPostgres({ major: 14, prefer: ['embedded', 'local'] });
let runner;
try {
  await freeze();
} finally {
  runner?.kill('SIGKILL');
  await server.stop('immediate');
  receiver.closeAllConnections();
  receiver.close();
}

async function freeze() {
  const [sql, depot] = [await createDatabase('frozen'), await createDatabase('frozen_depot')];
  const parts = readParts({
    receiver: receiverUrl,
    depot: `host => '127.0.0.1', port => ${server.port}, dbname => 'frozen_depot',
      username => 'postgres', password => null`,
  });
  const run = (name, on = sql) => on.begin((transaction) => transaction.unsafe(parts.get(name)));
  const environment = {
    PGSTREAM_POSTGRES_LISTENER_URL: urlOf('frozen'),
    PGSTREAM_INJECTOR_STORE_POSTGRES_URL: urlOf('frozen'),
    PGSTREAM_EVALUATOR_URL: urlOf('frozen', 'frozen_eval'),
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
    PGSTREAM_SECRET_KEY: secretKey,
    PGSTREAM_LOG_LEVEL: 'error',
  };

  await run('roles');
  await run('depot', depot);
  await run('tables');
  pgstream(['init'], environment);
  for (const name of ['grants', 'foreign', 'subscriptions', 'owners']) await run(name);

  runner = start(['run'], environment);
  await run('changes');
  await run('emitted');
  await settle(sql);
  await run('truncated');
  await until(
    '410 has disabled one',
    () => sql`
    select from pgstream.webhook_subscriptions where disabled_reason is not null`,
  );
  await until('one is dead at its endpoint and one at its filter', async () => {
    const dead = await sql`
      select distinct subscription from pgstream.webhook_deliveries where state = 'dead'`;
    return dead.length > 1 ? dead : [];
  });
  await settle(sql);
  await run('revoked');
  await until(
    'one is denied',
    () => sql`
    select from pgstream.webhook_deliveries where state = 'denied'`,
  );
  await run('later');
  await run('unfollowed');
  await until('what was not followed is reconciled', async () => {
    await sql`select pgstream.reconcile()`;
    return sql`select from pgstream.ddl_error where reconciled_at is not null`;
  });
  await settle(sql);
  await until('all secrets are sealed', async () => {
    const plain = await sql`
      select from pgstream.subscription_secrets where secret not like 'sealed:%'`;
    return plain.length > 0 ? [] : [true];
  });

  await run('snapshot');
  await until(
    'the snapshot is half done',
    () => sql`
    select from pgstream.snapshot_tables where rows_done > 60 and state = 'running'`,
  );
  runner.kill('SIGKILL');
  await once(runner, 'exit');
  await run('unpassed');
  await sql.unsafe(`begin; ${parts.get('unfollowed').replaceAll('late', 'latest')}; commit`);
  await sql`
    update pgstream.runner_lease set holder = holder || '{"host": "frozen", "space": "frozen"}'`;

  await tell(sql);
  await Promise.all([sql.end(), depot.end()]);
  mkdirSync(target, { recursive: true });
  write('roles.sql', parts.get('roles').trimStart());
  write('depot.sql', dump('frozen_depot'));
  write('database.sql.gz', gzipSync(dump('frozen'), { level: 9 }));
}

function write(name, content) {
  writeFileSync(path.join(target, name), content);
  console.log(`${name}: ${content.length} bytes`);
}

/** Waits until all that was committed is delivered or stored. */
async function settle(sql) {
  const [{ lsn }] = await sql`select pg_current_wal_insert_lsn() as lsn`;
  await until(
    'all is delivered or stored',
    () => sql`
    select from pg_replication_slots where confirmed_flush_lsn >= ${lsn}::pg_lsn`,
  );
}

async function until(what, condition) {
  const deadline = Date.now() + 120_000;
  while ((await condition()).length === 0) {
    if (runner.exitCode !== null) throw new Error(`the runner left before ${what}`);
    if (Date.now() > deadline) throw new Error(`not within two minutes: ${what}`);
    await delay(20);
  }
  console.log(what);
}

async function createDatabase(name) {
  const admin = postgres(server.url, { max: 1 });
  await admin.unsafe(`create database ${name}`);
  await admin.end();
  return postgres(urlOf(name), { max: 1, onnotice: ({ message }) => console.log(message) });
}

function urlOf(database, user = 'postgres') {
  return `postgres://${user}@127.0.0.1:${server.port}/${database}`;
}

function pgstream(args, environment) {
  const env = { ...process.env, ...environment };
  execFileSync(process.execPath, [path.join(root, 'dist/cli.js'), ...args], {
    env,
    stdio: 'inherit',
  });
}

function start(args, environment) {
  const env = { ...process.env, ...environment };
  return spawn(process.execPath, [path.join(root, 'dist/cli.js'), ...args], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** The parts of life.sql by name, with {words} filled in. */
function readParts(words) {
  const [, ...parts] = readFileSync(path.join(here, 'life.sql'), 'utf8').split(/^\\part /m);
  return new Map(
    parts.map((part) => {
      const end = part.indexOf('\n');
      const filled = part.slice(end).replace(/\{(receiver|depot)\}/g, (_, word) => words[word]);
      return [part.slice(0, end), filled];
    }),
  );
}

/**
 * The dump of a database as INSERTs, which every client can run; the same whichever ports were free,
 * and without what only psql understands.
 */
function dump(name) {
  const options = ['--inserts', '--rows-per-insert=200', '--encoding=UTF8'];
  return execFileSync('pg_dump', [...options, urlOf(name)], { encoding: 'utf8' })
    .replaceAll(`127.0.0.1:${receiver.address().port}`, `127.0.0.1:${receiverPort}`)
    .replaceAll(`127.0.0.1:${server.port}`, `127.0.0.1:${serverPort}`)
    .replaceAll(`port '${server.port}'`, `port '${serverPort}'`)
    .replace(/^\\(un)?restrict .*\n/gm, '');
}

/** What has become of it, for the one who freezes. */
async function tell(sql) {
  console.table(
    await sql`
    select s.name, w.state, w.pending, w.dead, w.delivered, left(w.last_error, 60) as error
    from pgstream.webhook_subscriptions s join pgstream.webhook_status w using (id) order by s.id`,
  );
  console.table(
    await sql`
    select request, table_name, state, rows_done from pgstream.snapshot_tables`,
  );
  console.table(
    await sql`
    select target::text, state, rows_changed from pgstream.cached_status`,
  );
  const tables = await sql`
    select c.oid::regclass::text as name from pg_class c
    where c.relnamespace = 'pgstream'::regnamespace and c.relkind = 'r' order by 1`;
  for (const { name } of tables) {
    const [{ count }] = await sql.unsafe(`select count(*)::integer from ${name}`);
    console.log(`${name}: ${count}`);
  }
}
