import { expect, test } from 'vitest';
import { confirmed, patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { createRoles } from '../helpers/roles.js';
import { startRunner } from '../helpers/runner.js';
import { firstArrivals, inState, request } from '../helpers/snapshots.js';

test('a runner without further rights reads what it was granted, and says what it was not', async () => {
  const { database, roles } = await createRoles<'runner'>({ runner: 'replication' });
  const { sql, url } = database;
  const receiver = await startReceiver();
  const init = startRunner(['init'], { env: { PGSTREAM_POSTGRES_LISTENER_URL: url } });
  expect(await init.exited).toMatchObject({ code: 0 });
  await sql.unsafe(`
    create table granted (id integer primary key);
    create table kept (id integer primary key);
    create table secured (id integer primary key);
    alter table secured enable row level security;
    insert into granted values (1);
    insert into kept values (1);
    insert into secured values (1);
    select pgstream.grant_runner('${roles.runner.name}');
    grant select on granted, secured to ${roles.runner.name};
    insert into pgstream.webhook_subscriptions (url) values ('${receiver.url}')`);
  const runner = startRunner(['run'], {
    env: {
      PGSTREAM_POSTGRES_LISTENER_URL: roles.runner.url,
      PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
    },
  });
  await runner.waitForLog(/"streaming"/);
  const id = await request(sql, ['granted', 'kept', 'secured']);
  const [granted, kept, secured] = await inState(sql, id, 'failed');
  expect(granted).toEqual({ state: 'done', reason: null, rows: 1 });
  expect(kept).toMatchObject({ state: 'failed', rows: 0 });
  expect(kept!.reason).toMatch(/permission denied for table kept/);
  expect(secured!.reason).toMatch(/row-level security/);
  await confirmed(sql);
  expect(firstArrivals(receiver).map(({ row }) => row)).toEqual([{ id: 1 }]);

  await sql.unsafe(`grant select on kept to ${roles.runner.name}`);
  await inState(sql, await request(sql, ['kept']), 'done');
  await eventually(() => firstArrivals(receiver).length === 2, patience);
  await runner.kill('SIGTERM');
  await receiver.close();
}, 90_000);
