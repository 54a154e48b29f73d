/** The seam between rows that were there and their changes, while all of them change all the time. */
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { drained, patience, startItems, stored } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { firstArrivals, inState, request, statusOf, upsert } from '../helpers/snapshots.js';

const rows = 2_500;

/**
 * Sessions that change rows of table `item`, whose version only goes up: in transactions of several
 * statements, with savepoints and rollbacks, changes of key, deletes and rows that come back.
 */
function startWriters(url: string, count: number) {
  const sql = postgres(url, { max: count, onnotice: () => undefined });
  let isOver = false;
  let commits = 0;
  const random = (n: number) => Math.floor(Math.random() * n);
  const write = async () => {
    while (!isOver) {
      await sql
        .begin(async (tx) => {
          for (let i = random(3); i >= 0; i--) {
            const id = 1 + random(rows);
            await tx`select pg_advisory_xact_lock(${id})`;
            switch (random(6)) {
              case 0:
                await tx`delete from item where id = ${id}`;
                break;
              case 1:
                await tx`
                  insert into item values (${id}, nextval('version'), 'again')
                  on conflict (id) do update set version = excluded.version`;
                break;
              case 2:
                await tx`
                  update item set id = id + 100000 * ${random(2) ? 1 : -1}, version = nextval('version')
                  where id = ${id}`;
                break;
              case 3:
                await tx
                  .savepoint(async (sp) => {
                    await sp`update item set version = nextval('version') where id = ${id}`;
                    if (random(2)) throw new Error('undone');
                  })
                  .catch(() => undefined);
                break;
              default:
                await tx`update item set version = nextval('version') where id = ${id}`;
            }
          }
          if (random(8) === 0) throw new Error('undone');
        })
        .catch(() => undefined);
      commits++;
    }
  };
  const all = Promise.all(Array.from({ length: count }, write));
  return {
    get commits() {
      return commits;
    },
    async stop() {
      isOver = true;
      await all;
      await sql.end();
    },
  };
}

async function startFilled() {
  const items = await startItems({ subscription: { table_name: 'nothing', name: 'first' } });
  const { sql, subscribe, receiver } = items;
  await sql`create sequence version`;
  await sql`alter table item alter version type bigint`;
  await sql`
    insert into item select g, nextval('version'), repeat('x', g % 100)
    from generate_series(1, ${rows}::integer) g`;
  const id = await subscribe({ url: receiver.url, max_in_flight: 100 });
  return { ...items, id };
}

async function expectSame(items: Awaited<ReturnType<typeof startFilled>>) {
  const { sql, receiver } = items;
  await drained(sql);
  const { rows: held, stale } = upsert(firstArrivals(receiver), ({ id }) => String(id));
  expect(stale).toEqual([]);
  const truth = await sql<{ id: number; version: number; note: string }[]>`
    select id, version::float8 as version, note from item order by id`;
  const kept = [...held.values()].sort((a, b) => Number(a['id']) - Number(b['id']));
  expect(kept).toEqual(truth.map((row) => ({ ...row })));
}

test('nothing stale arrives and nothing is missing while every row is being changed', async () => {
  const items = await startFilled();
  const { sql } = items;
  const writers = startWriters(items.url, 5);
  await eventually(() => writers.commits > 100);
  const id = await request(sql, ['item'], { chunk_rows: 200 });
  await inState(sql, id, 'done');
  await writers.stop();
  await expectSame(items);
}, 120_000);

test('a runner that is killed again and again goes on where it was', async () => {
  const items = await startFilled();
  const { sql } = items;
  const writers = startWriters(items.url, 1);
  const id = await request(sql, ['item'], { chunk_rows: 100, share: 0.3 });
  let { runner } = items;
  for (let kills = 0, done = 0; kills < 2; kills++) {
    await eventually(
      async () => {
        const [row] = await statusOf(sql, id);
        return row!.state === 'done' || row!.rows > done;
      },
      { timeout: 30_000 },
    );
    done = (await statusOf(sql, id))[0]!.rows;
    await runner.kill();
    runner = await items.start();
  }
  await inState(sql, id, 'done');
  await writers.stop();
  await expectSame(items);
}, 180_000);

test('rows that are stored for an endpoint that is down survive kills', async () => {
  const items = await startFilled();
  const { sql, receiver } = items;
  let { runner } = items;
  receiver.reply({ status: 503 });
  const id = await request(sql, ['item'], { chunk_rows: 500 });
  await eventually(async () => (await stored(sql)) > 1_000, patience);
  await runner.kill();
  runner = await items.start();
  await sql`update item set version = nextval('version') where id % 7 = 0`;
  await inState(sql, id, 'done');
  await runner.kill();
  await items.start();
  receiver.reply({});
  await items.configure({ max_in_flight: 50 }, items.id);
  await expectSame(items);
}, 120_000);

test('the same rows have the same ids and bytes however often they are read', async () => {
  const items = await startFilled();
  const { sql, receiver } = items;
  let { runner } = items;
  const id = await request(sql, ['item'], { chunk_rows: 100, share: 0.3 });
  for (let kills = 0; kills < 2; kills++) {
    const before = receiver.requests.length;
    await eventually(() => receiver.requests.length > before + 150, patience);
    await runner.kill();
    runner = await items.start();
  }
  await inState(sql, id, 'done');
  await drained(sql);
  const bodies = new Map<string, Set<string>>();
  for (const { headers, body } of receiver.requests) {
    const key = headers['webhook-id'] as string;
    bodies.set(key, (bodies.get(key) ?? new Set()).add(body));
  }
  expect(bodies.size).toBe(rows);
  expect([...bodies.values()].filter(({ size }) => size > 1)).toEqual([]);
  expect(receiver.requests.length).toBeGreaterThan(rows);
}, 120_000);

test('rows without a key that are logged in full are changed while they are read', async () => {
  const { sql, receiver, subscribe, url } = await startItems();
  await sql`create sequence version`;
  await sql`create table log (version bigint default nextval('version'), v text)`;
  await sql`alter table log replica identity full`;
  await sql`insert into log (v) select repeat('x', g % 50) from generate_series(1, 3000) g`;
  await subscribe({ url: `${receiver.url}/log`, table_name: 'log', max_in_flight: 100 });
  const writers = postgres(url, { max: 4, onnotice: () => undefined });
  const stop = new AbortController();
  const write = async () => {
    while (!stop.signal.aborted) {
      const which = Math.random();
      await writers`
        update log set version = nextval('version')
        where ctid = (select ctid from log tablesample bernoulli (1) limit 1)`;
      if (which < 0.3) await writers`insert into log (v) values ('new')`;
      if (which > 0.8) {
        await writers`
          delete from log where ctid = (select ctid from log tablesample bernoulli (1) limit 1)`;
      }
    }
  };
  const writing = Promise.all([write(), write(), write()]);
  const id = await request(sql, ['log'], { chunk_rows: 50 });
  await inState(sql, id, 'done');
  stop.abort();
  await writing;
  await writers.end();
  await drained(sql);
  // Every row differs from all others, and each change of one leads from what was to what is.
  const { rows: held } = upsert(firstArrivals(receiver), (row) => String(row['version']));
  const truth = await sql<{ version: string }[]>`select version::text from log`;
  const sorted = (all: readonly string[]) => [...all].sort((a, b) => Number(a) - Number(b));
  expect(sorted([...held.keys()])).toEqual(sorted(truth.map(({ version }) => version)));
}, 120_000);

test('an orderly stop repeats no more than the chunk that was under way', async () => {
  const items = await startFilled();
  const { sql, receiver, runner } = items;
  const id = await request(sql, ['item'], { chunk_rows: 100, share: 0.3 });
  await eventually(() => receiver.requests.length > 500, patience);
  await runner.kill('SIGTERM');
  await items.start();
  await inState(sql, id, 'done');
  await drained(sql);
  expect(firstArrivals(receiver)).toHaveLength(rows);
  expect(receiver.requests.length).toBeLessThanOrEqual(rows + 100);
}, 90_000);
