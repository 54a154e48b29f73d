import { randomBytes } from 'node:crypto';
import type postgres from 'postgres';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
let sql: postgres.Sql;
beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());
afterEach(async () => {
  await sql`truncate pgstream.webhook_subscriptions`;
});

const url = 'https://example.com/hook';
const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;
const kept = async () => {
  const rows = await sql<{ secret: string }[]>`
    select k.secret
    from pgstream.subscription_secrets k
    left join pgstream.webhook_subscriptions s
      on s.id = k.subscription and s.secret = format('kept:%s', k.id)
    order by s.name`;
  return rows.map(({ secret }) => secret);
};

test('a secret stands neither in the subscription nor in its changes', async () => {
  const secret = newSecret();
  await sql`insert into pgstream.webhook_subscriptions ${sql({ url, secret })}`;
  expect(await kept()).toEqual([secret]);
  const [row] = await sql`
    select s.secret, c.definition ->> 'secret' as changed, to_jsonb(s)::text as all,
      (select string_agg(definition::text, '') from pgstream.subscription_changes) as changes
    from pgstream.webhook_subscriptions s
    join pgstream.subscription_changes c on c.subscription = s.id`;
  expect(row!['secret']).toMatch(/^kept:\d+$/);
  expect(row!['changed']).toBe(row!['secret']);
  expect(row!['all'] + row!['changes']).not.toContain(secret);
});

test('only the last secret is kept, and none of a subscription that has none', async () => {
  const [first, second, third] = [newSecret(), newSecret(), `${newSecret()}  ${newSecret()}`];
  await sql`insert into pgstream.webhook_subscriptions ${sql({ url, secret: first })}`;
  await sql`update pgstream.webhook_subscriptions set name = 'a'`;
  expect(await kept()).toEqual([first]);
  await sql`update pgstream.webhook_subscriptions set secret = ${second}`;
  expect(await kept()).toEqual([second]);
  await sql`update pgstream.webhook_subscriptions set secret = ${third}`;
  expect(await kept()).toEqual([third.replace('  ', ' ')]);
  await sql`update pgstream.webhook_subscriptions set secret = null`;
  expect(await kept()).toEqual([]);
  await sql`update pgstream.webhook_subscriptions set secret = ${first}`;
  await sql`delete from pgstream.webhook_subscriptions`;
  expect(await kept()).toEqual([]);
  await sql`insert into pgstream.webhook_subscriptions ${sql({ url, secret: first })}`;
  await sql`truncate pgstream.webhook_subscriptions`;
  expect(await kept()).toEqual([]);
});

test('an upsert keeps the secret that it gives, or the one that there is', async () => {
  const [first, second] = [newSecret(), newSecret()];
  const upsert = (secret: string, update: string) =>
    sql.unsafe(
      `insert into pgstream.webhook_subscriptions (url, secret) values ('${url}', '${secret}')
       on conflict (url, schema_name, table_name, name) do ${update}`,
    );
  await upsert(first, 'nothing');
  await upsert(second, 'nothing');
  expect(await kept()).toEqual([first]);
  await upsert(second, 'update set secret = excluded.secret');
  expect(await kept()).toEqual([second]);
  await upsert(first, 'update set max_in_flight = 2');
  expect(await kept()).toEqual([second]);
});

test('nobody gets the secret of another subscription by its number', async () => {
  await sql`insert into pgstream.webhook_subscriptions ${sql({ url, secret: newSecret() })}`;
  const [row] = await sql<{ secret: string }[]>`select secret from pgstream.webhook_subscriptions`;
  await expect(
    sql`insert into pgstream.webhook_subscriptions ${sql({ url, name: 'b', secret: row!.secret })}`,
  ).rejects.toMatchObject({ code: '22023', message: 'a secret is not one of Standard Webhooks' });
});

test.each([
  ['not random', `whsec_${Buffer.alloc(32, 'k').toString('base64')}`, 'a secret is not random'],
  ['too short', `whsec_${randomBytes(23).toString('base64')}`, 'Standard Webhooks'],
  ['no base64', 'whsec_not base64', 'Standard Webhooks'],
  ['of another kind', 'sk_live_12345678901234567890', 'Standard Webhooks'],
  ['empty', '', 'Standard Webhooks'],
])('a secret that is %s is refused, and not quoted', async (_, secret, message) => {
  const refused = sql`insert into pgstream.webhook_subscriptions ${sql({ url, secret })}`;
  await expect(refused).rejects.toMatchObject({
    code: '22023',
    message: expect.stringContaining(message),
    hint: expect.any(String),
  });
  if (secret) {
    await expect(refused).rejects.not.toMatchObject({ detail: expect.stringContaining(secret) });
  }
});

test('what was sealed beforehand is taken as it is', async () => {
  const secret = `sealed:v1:0123abcd:${randomBytes(60).toString('base64url')}`;
  await sql`insert into pgstream.webhook_subscriptions ${sql({ url, secret })}`;
  expect(await kept()).toEqual([secret]);
});
