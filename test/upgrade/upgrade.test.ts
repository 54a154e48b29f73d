/** A database of an earlier version, with life in it, is upgraded in every way that there is. */
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';
import { catalogue } from '../helpers/catalogue.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { install, ways } from '../helpers/install.js';
import { accepted, confirmed, idOf, patience, type Request } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver, type Receiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';
import { expectLogInStep } from '../helpers/schema-log.js';
import { firstArrivals, inState } from '../helpers/snapshots.js';
import {
  changes,
  contents,
  createRoles,
  dropRoles,
  grantRoles,
  restoreFrozen,
  secretKey,
  settle,
  type Contents,
  type Frozen,
} from './frozen.js';

let fresh: TestDatabase;
beforeAll(async () => {
  fresh = await createDatabase();
  await createRoles(fresh);
  await fresh.sql`select pgstream.create_publications()`;
  await grantRoles(fresh);
});
afterAll(async () => {
  await fresh.drop();
  await dropRoles();
});

/** What an upgrade may change of what it finds. */
const upkeep = ['pgstream.schema_state.fingerprint'];
/** Each expression is checked once by rules that are new. */
const rules = ['pgstream.webhook_subscriptions.program'];
/** With the slot, which is another one after a restore, goes the record of how far it was read. */
const record = ['pgstream.runner_lease.confirmed_lsn', 'pgstream.runner_lease.system_identifier'];
/** Of another database: oids are found again by names, positions in the log are forgotten. */
const moved = [
  'pgstream.schema_objects.document',
  'pgstream.schema_objects.parts',
  'pgstream.schema_objects: rows are gone',
  'pgstream.schema_positions: rows are gone',
  'pgstream.schema_state.database_oid',
  'pgstream.schema_state.system_identifier',
  'pgstream.subscription_changes.commit_lsn',
  'pgstream.table_ids.born',
  'pgstream.table_ids.column_numbers',
  'pgstream.table_ids.oid',
];

describe.each(ways)('after %s', (way) => {
  let receiver: Receiver;
  let database: Frozen;
  let before: Contents;
  beforeAll(async () => {
    receiver = await startReceiver();
    database = await restoreFrozen(receiver.url);
    await settle(database);
    before = await contents(database);
    await install[way](database);
  });
  afterAll(async () => {
    await receiver.close();
    await database.drop();
  });

  test('every row that there was is there, as it was', async () => {
    const named = [...(way === 'init' ? record : []), ...upkeep, ...rules];
    expect(changes(before, await contents(database))).toEqual(named);
  });

  test('the catalogue is that of a new installation, with what each role was granted', async () => {
    expect(await catalogue(database.sql)).toEqual(await catalogue(fresh.sql));
  });

  test('it can be repeated, and changes nothing', async () => {
    const [objects, rows] = [await catalogue(database.sql), await contents(database)];
    await install[way](database);
    expect(await catalogue(database.sql)).toEqual(objects);
    expect(changes(rows, await contents(database))).toEqual(upkeep);
    expect(sizes(await contents(database))).toEqual(sizes(rows));
  });

  test('what waited is delivered as it was stored, and in order; then what is new', async () => {
    const { sql } = database;
    const waiting = await waitingIn(database);
    expect(waiting.length).toBeGreaterThan(100);
    await sql`update pgstream.snapshot_requests set share = 1, chunk_rows = 100 where id = 1`;
    const runner = startRunner(['run', '--init'], { env: environmentOf(database) });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    await runner.waitForLog(/"streaming"/);
    await sql`insert into shop.orders (id, total, status) values (100, 500, 'new')`;
    await confirmed(sql);
    await eventually(async () => expect(await waitingIn(database)).toEqual([]), patience);

    const arrived = accepted(receiver).flatMap(eventsOf);
    const bodies = new Map(arrived.map(({ id, body }) => [id, body]));
    expect(waiting.filter(({ id, body }) => bodies.get(id) !== body)).toEqual([]);
    const places = new Map(arrived.map(({ id }, place) => [id, place] as const).toReversed());
    for (const [lane, ids] of lanesOf(waiting)) {
      expect(
        ids.toSorted((one, other) => places.get(one)! - places.get(other)!),
        lane,
      ).toEqual(ids);
    }
    await receiver.waitUntil(
      (all) =>
        all.some(({ path, body }) => path === '/down/plain' && body.includes('"value":100}')),
      patience,
    );
    await inState(sql, 1, 'done');
    const requests = receiver.requests.filter(({ path }) => path === '/up/archive');
    const pages = firstArrivals({ ...receiver, requests });
    const rows = pages.map(({ row }) => Number(row!['id'])).toSorted((one, other) => one - other);
    expect(rows).toEqual(Array.from({ length: 400 - 70 }, (_, n) => 71 + n));
    await sql`select * from pgstream.reconcile()`;
    await expectLogInStep(sql);
    await runner.kill('SIGTERM');
  });
});

test('a dump that is restored elsewhere and then upgraded has lost nothing', async () => {
  const database = await restoreFrozen('http://127.0.0.1:9');
  try {
    const before = await contents(database);
    await install.init(database);
    expect(changes(before, await contents(database))).toEqual(
      [...moved, ...record, ...upkeep, ...rules].toSorted(),
    );
    expect(await catalogue(database.sql)).toEqual(await catalogue(fresh.sql));
    await expectLogInStep(database.sql);
  } finally {
    await database.drop();
  }
});

const sizes = (all: Contents) =>
  Object.fromEntries([...all].map(([table, rows]) => [table, rows.size]));

interface Waiting {
  id: string;
  body: string;
  /** Whatever is in the same lane is to arrive in this order. */
  lane: string;
}

/** What is to be delivered, in order; subscriptions that send nothing for now keep theirs. */
const waitingIn = async ({ sql }: Frozen): Promise<Waiting[]> => [
  ...(await sql<Waiting[]>`
    select d.webhook_id as id, d.body,
           case s.ordering
             when 'key' then concat_ws(' ', s.name, d.lane_tables, d.lane_keys)
             when 'strict' then s.name else d.webhook_id end as lane
    from pgstream.webhook_deliveries d
    join pgstream.webhook_subscriptions s on s.id = d.subscription
    where d.state = 'pending' and s.enabled and s.name not in ('invalid', 'to be denied')
    order by d.subscription, d.commit_lsn, d.ordinal`),
];

function lanesOf(waiting: readonly Waiting[]): Map<string, string[]> {
  const lanes = new Map<string, string[]>();
  for (const { lane, id } of waiting) lanes.set(lane, [...(lanes.get(lane) ?? []), id]);
  return lanes;
}

/** The events of a request, alone or in a batch, as they are stored. */
function eventsOf(request: Request): { id: string; body: string }[] {
  const { headers, body } = request;
  const ids = headers['pgstream-event-ids'] as string | undefined;
  if (!ids) return [{ id: idOf(request), body }];
  const bodies = (JSON.parse(body) as unknown[]).map((event) => JSON.stringify(event));
  return ids.split(/[\s,]+/).map((id, n) => ({ id, body: bodies[n]! }));
}

function environmentOf({ url }: Frozen): Record<string, string> {
  const evaluator = new URL(url);
  evaluator.username = 'frozen_eval';
  return {
    PGSTREAM_POSTGRES_LISTENER_URL: url,
    PGSTREAM_INJECTOR_STORE_POSTGRES_URL: url,
    PGSTREAM_EVALUATOR_URL: evaluator.href,
    PGSTREAM_SECRET_KEY: secretKey,
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
  };
}
