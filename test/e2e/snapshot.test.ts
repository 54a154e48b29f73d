import { expect, test } from 'vitest';
import { drained, startItems } from '../helpers/items.js';
import { firstArrivals, inState, request } from '../helpers/snapshots.js';

test('all rows of a table that was never analyzed are delivered, each once', async () => {
  const { sql, receiver } = await startItems();
  await sql`alter table item disable trigger all`;
  await sql`create table old (id integer primary key, v text)`;
  await sql`insert into old select g, repeat('x', 200) from generate_series(1, 3000) g`;
  await sql`insert into pgstream.webhook_subscriptions ${sql({ url: `${receiver.url}/old`, table_name: 'old' })}`;
  const id = await request(sql, ['old']);
  const status = await inState(sql, id, 'done');
  expect(status).toMatchObject([{ state: 'done', rows: 3000 }]);
  await drained(sql);
  const events = firstArrivals(receiver);
  expect(events).toHaveLength(3000);
  expect(new Set(events.map(({ action, lsn }) => `${action} ${lsn}`))).toEqual(new Set(['I 0/0']));
  expect(new Set(events.map(({ row }) => row!['id'])).size).toBe(3000);
});
