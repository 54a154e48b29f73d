/**
 * A large table is snapshotted while it is written and the runner is killed. Who keeps rows by key
 * has to end with what the table holds, and never gets an older version behind a newer one as a
 * first arrival.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/embedded/start.js';
import { eventually } from '../helpers/poll.js';
import { startRunner } from '../helpers/runner.js';

const option = (name: string, otherwise: number) => Number(process.env[name] ?? otherwise);
const rows = option('SOAK_ROWS', 1_000_000);
const kills = option('SOAK_KILLS', 10);
const rate = option('SOAK_RATE', 500);
const patience = { timeout: 600_000 };

interface Change {
  readonly Data: Record<'columns' | 'identity', { name: string; value: number }[] | null>;
}

const say = (text: string) =>
  process.stdout.write(`${Math.round(performance.now() / 1000)} s ${text}\n`);

/** Keeps rows by key: their versions. */
async function startKeeper() {
  const versions = new Map<number, number>();
  const newest = new Map<number, number>();
  const known = new Set<string>();
  const kept = { url: '', versions, stale: 0, repeated: 0, events: 0 };
  const server = http.createServer(async (request, response) => {
    const changes = (await json(request)) as Change[];
    const ids = String(request.headers['pgstream-event-ids']).split(' ');
    changes.forEach(({ Data: { columns, identity } }, i) => {
      kept.events++;
      const [id] = (columns ?? identity)!.map(({ value }) => value);
      const before = identity?.[0]?.value;
      if (before !== undefined) versions.delete(before);
      const version = columns?.[1]?.value;
      if (version !== undefined) versions.set(id!, version);
      if (known.has(ids[i]!)) kept.repeated++;
      else if (version !== undefined) {
        if (version < (newest.get(id!) ?? 0)) kept.stale++;
        newest.set(id!, version);
      }
      known.add(ids[i]!);
    });
    response.writeHead(204).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  kept.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return kept;
}

/** Single changes at a steady rate: updates, and now and then a delete, a new row, a new key. */
const writer = `
  create procedure write(rate float8, most integer) language plpgsql as $$
  declare
    v_start constant timestamptz := clock_timestamp();
    v_ahead float8;
    v_id integer;
  begin
    for n in 1..1000000000 loop
      v_ahead := n / rate - extract(epoch from clock_timestamp() - v_start);
      if v_ahead > 0 then
        perform pg_sleep(v_ahead);
      end if;
      v_id := 1 + floor(random() * most);
      case n % 20
        when 0 then delete from big where id = v_id;
        when 1 then
          insert into big values (v_id, nextval('version'), 'again') on conflict do nothing;
        when 2 then
          update big set id = -id, version = nextval('version')
          where id = v_id and not exists (select from big where id = -v_id);
        else update big set version = nextval('version') where id = v_id;
      end case;
      commit;
      exit when exists (select from stop);
    end loop;
  end
  $$`;

test('a snapshot of a large table, under writes and kills, ends with what the table holds', async () => {
  const server = await startPostgres();
  onTestFinished(() => server.stop('immediate'));
  const sql = postgres(server.url, { max: 4, onnotice: () => undefined });
  onTestFinished(() => sql.end({ timeout: 1 }));
  const start = async () => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: server.url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      },
    });
    await runner.waitForLog(/"streaming"/, { timeout: 60_000 });
    return runner;
  };
  let runner = await start();
  const keeper = await startKeeper();
  await sql`create sequence version`;
  await sql`create table big (id integer primary key, version bigint not null, note text)`;
  await sql`create table stop ()`;
  await sql.unsafe(writer);
  await sql`insert into big select g, nextval('version'), repeat('x', g % 200)
    from generate_series(1, ${rows}::integer) g`;
  await sql`insert into pgstream.webhook_subscriptions
    ${sql({ url: keeper.url, table_name: 'big', batch_size: 100, batch_wait: '10 ms' })}`;

  const writing = sql`call write(${rate}::float8, ${rows}::integer)`.execute();
  const [{ id } = { id: 0 }] = await sql<{ id: number }[]>`
    insert into pgstream.snapshot_requests (table_names) values ('{big}') returning id::integer`;
  const begun = performance.now();

  let longest = 0;
  const watch = setInterval(() => {
    void sql<{ seconds: number }[]>`
      select coalesce(max(extract(epoch from clock_timestamp() - a.xact_start)), 0)::float8 as seconds
      from pg_stat_activity a where a.application_name like 'pgstream%' and a.backend_type = 'client backend'`.then(
      ([row]) => (longest = Math.max(longest, row!.seconds)),
    );
  }, 100);
  onTestFinished(() => clearInterval(watch));
  const progress = async () => {
    const [row] = await sql<{ done: number; state: string; reason: string | null }[]>`
      select t.rows_done::integer as done, t.state, t.reason from pgstream.snapshot_tables t
      where t.request = ${id}`;
    return row!;
  };
  for (let killed = 0; killed < kills;) {
    await eventually(
      async () => expect((await progress()).done).toBeGreaterThan((rows * killed) / (kills + 1)),
      patience,
    );
    await runner.kill('SIGKILL');
    say(`killed at ${(await progress()).done} rows, ${keeper.events} events had come`);
    runner = await start();
    killed++;
  }
  await eventually(async () => expect(await progress()).toMatchObject({ state: 'done' }), patience);
  const seconds = (performance.now() - begun) / 1000;
  await sql`insert into stop default values`;
  await writing;
  clearInterval(watch);
  const [{ end } = { end: '' }] = await sql<{ end: string }[]>`
    select pg_current_wal_insert_lsn()::text as end`;
  await eventually(async () => {
    const passed = await sql`
      select from pg_replication_slots where confirmed_flush_lsn >= ${end}::pg_lsn`;
    expect(passed).toHaveLength(1);
  }, patience);
  await eventually(async () => {
    expect(await sql`select from pgstream.webhook_deliveries limit 1`).toHaveLength(0);
  }, patience);

  let wrong = 0;
  let count = 0;
  await sql<{ id: number; version: string }[]>`select id, version from big`.cursor(
    10_000,
    (some) => {
      for (const row of some) {
        count++;
        if (keeper.versions.get(row.id) !== Number(row.version)) wrong++;
      }
    },
  );
  say(
    `${count} rows after ${seconds.toFixed(0)} s; ${keeper.events} events came, ${keeper.repeated} ` +
      `of them again; the longest transaction of ours took ${longest.toFixed(2)} s`,
  );
  expect({ wrong, extra: keeper.versions.size - count, stale: keeper.stale }).toEqual({
    wrong: 0,
    extra: 0,
    stale: 0,
  });
}, 0);
