import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Finding } from '../../src/check/finding.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { startDelivery, type Delivery } from '../helpers/delivery.js';
import { startRunner } from '../helpers/runner.js';

let database: TestDatabase;
let delivery: Delivery;

beforeAll(async () => {
  database = await createDatabase();
  delivery = await startDelivery(database);
});

afterAll(async () => {
  await delivery.stop();
  await database.drop();
});

interface Event {
  action: string;
  table: string;
  columns: { name: string; value: unknown }[] | null;
  identity: { name: string; value: unknown }[] | null;
}

/** Action, columns and identity of the events of a table, as short texts. */
async function eventsOf(table: string): Promise<string[]> {
  const cells = (of: Event['columns']) =>
    of?.map(({ name, value }) => `${name}=${String(value)}`).join(',') ?? 'none';
  return (await delivery.bodies())
    .map((body) => (JSON.parse(body) as { Data: Event }).Data)
    .filter((event) => event.table === table)
    .map(({ action, columns, identity }) => `${action} ${cells(columns)} | ${cells(identity)}`);
}

test('a partition logs its own identity, whatever that of the partitioned table is', async () => {
  const { sql } = database;
  await sql.unsafe(`
    create table p (id integer primary key, v integer, t text) partition by range (id);
    create table p1 partition of p for values from (0) to (100);
    create table p2 partition of p for values from (100) to (200);
    alter table p replica identity full;
  `);
  await sql`insert into p values (1, 10, 'a')`;
  await sql`update p set v = 11 where id = 1`;
  await sql`update p set id = 2 where id = 1`;
  await sql`delete from p where id = 2`;
  expect(await eventsOf('p')).toEqual([
    'I id=1,v=10,t=a | none',
    'U id=1,v=11,t=a | id=1',
    'U id=2,v=11,t=a | id=1',
    'D none | id=2',
  ]);
});

test('a row that moves between partitions is deleted and inserted under one name, in order', async () => {
  const { sql } = database;
  await sql.unsafe(`
    create table q (id integer primary key, v integer) partition by range (id);
    create table q1 partition of q for values from (0) to (100);
    create table q2 partition of q for values from (100) to (200);
  `);
  delivery.receiver.reply(({ body }) => ({ delay: body.includes('"action":"D"') ? 300 : 0 }));
  await sql`insert into q values (1, 10)`;
  await sql`update q set id = 101 where id = 1`;
  await sql`truncate q`;
  expect(await eventsOf('q')).toEqual([
    'I id=1,v=10 | none',
    'D none | id=1',
    'I id=101,v=10 | none',
    'T none | none',
  ]);
  const [deleted, inserted] = delivery.receiver.requests.slice(-3);
  expect(inserted!.at - deleted!.at).toBeGreaterThanOrEqual(300);
});

test('a partition that is emptied alone is no event, which check says', async () => {
  const { sql } = database;
  await sql.unsafe(`
    create table r (id integer primary key) partition by range (id);
    create table r1 partition of r for values from (0) to (100) partition by range (id);
    create table r11 partition of r1 for values from (0) to (100);
    create table r2 partition of r for values from (100) to (200);
  `);
  await sql`insert into r values (1), (101)`;
  for (const table of ['r1', 'r2', 'r']) await sql.unsafe(`truncate ${table}`);
  expect(await eventsOf('r')).toEqual(['I id=1 | none', 'I id=101 | none', 'T none | none']);

  const checked = startRunner(['check', '--json', '--pgurl', database.url]);
  await checked.exited;
  const { findings } = JSON.parse(checked.stdout) as { findings: Finding[] };
  expect(findings).toContainEqual({
    severity: 'notice',
    code: 'partitions',
    what: expect.stringMatching(/single partition is no event: .*public\.r$/) as string,
    next: expect.stringContaining('delete its rows first') as string,
  });
});
