import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postgresOptions, resolveConnection } from '../../src/settings/connection.js';
import { followReplays } from '../../src/tenure/replays.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
/** As the runner connects. */
let sql: postgres.Sql;
beforeAll(async () => {
  database = await createDatabase();
  sql = postgres({ ...postgresOptions(resolveConnection(database.url, {})), max: 1 });
});
afterAll(async () => {
  await sql.end();
  await database.drop();
});

const insert = (id: number, subscription: number) => database.sql`
  insert into pgstream.replay_requests (id, subscription) overriding system value
  values (${id}, ${subscription})`;

const left = () => database.sql`select id::integer from pgstream.replay_requests`;

test('each request is acted on once by everybody who follows, in whichever order it commits', async () => {
  let now = 0;
  const replayed: string[] = [];
  const follow = (name: string) =>
    followReplays(sql, { replay: (id) => void replayed.push(`${name}${id}`) }, () => now);
  const [one, other] = [follow('a'), follow('b')];
  await insert(2, 7);
  await insert(3, 7);
  for (let i = 0; i < 2; i++) for (const look of [one, other]) await look();
  expect(replayed).toEqual(['a7', 'b7']);
  await insert(1, 8);
  for (const look of [one, other]) await look();
  expect(replayed).toEqual(['a7', 'b7', 'a8', 'b8']);
  now = 59_000;
  await one();
  expect(await left()).toHaveLength(3);
  now = 60_000;
  for (const look of [one, other, one]) await look();
  expect(await left()).toEqual([]);
  expect(replayed).toHaveLength(4);
});
