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

test('a table with an expression in the hands of others is read when it is in those of the runner', async () => {
  const { database, roles } = await createRoles<'mallory'>({ mallory: '' });
  const { sql, url } = database;
  const receiver = await startReceiver();
  const { name } = roles.mallory;
  const env = {
    PGSTREAM_POSTGRES_LISTENER_URL: url,
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
  };
  const init = startRunner(['init'], { env });
  expect(await init.exited).toMatchObject({ code: 0 });
  await sql.unsafe(`
    create sequence ran_as_another;
    grant usage on sequence ran_as_another to public;
    create schema theirs authorization ${name};
    set role ${name};
    create function theirs.one(integer) returns integer language plpgsql immutable as $$
      begin
        if current_user <> '${name}' then perform nextval('public.ran_as_another'); end if;
        return 1;
      end $$;
    create table theirs.indexed (id integer primary key, v integer);
    create table theirs.checked (id integer primary key, v integer check (v < 100 + theirs.one(1)));
    create table theirs.counted (id integer primary key, v integer);
    create table theirs.parted (id integer, v integer) partition by range ((v + theirs.one(1)));
    create table theirs.part partition of theirs.parted default;
    create table theirs.plain (id integer primary key, v text);
    insert into theirs.indexed values (1, 1);
    insert into theirs.checked values (1, 1);
    insert into theirs.counted values (1, 1);
    insert into theirs.parted values (1, 1);
    insert into theirs.plain values (1, 'a');
    create index on theirs.indexed ((v + theirs.one(1)));
    create statistics theirs.counts on (v + theirs.one(1)), id from theirs.counted;
    create index on theirs.plain (lower(v)) where v > 'a';
    reset role;
    insert into pgstream.webhook_subscriptions (url) values ('${receiver.url}')`);
  const runner = startRunner(['run'], { env });
  await runner.waitForLog(/"streaming"/);
  const names = ['checked', 'counted', 'indexed', 'parted', 'plain'];
  const tables = await inState(sql, await request(sql, names, { schema_name: 'theirs' }), 'failed');
  for (const { state, reason } of tables.slice(0, 4)) {
    expect({ state, reason }).toEqual({
      state: 'failed',
      reason: expect.stringMatching(
        new RegExp(`could run code of others: theirs.one\\(integer\\), which .*${name}`),
      ),
    });
  }
  expect(tables[4]).toMatchObject({ state: 'done', rows: 1 });
  const [{ ran }] = await sql<[{ ran: boolean }]>`select is_called as ran from ran_as_another`;
  expect(ran).toBe(false);

  await sql.unsafe(`
    create or replace function theirs.one(integer) returns integer language sql immutable as 'select 1';
    alter function theirs.one(integer) owner to current_user`);
  await inState(sql, await request(sql, names, { schema_name: 'theirs' }), 'done');
  await runner.kill('SIGTERM');
  await receiver.close();
}, 90_000);
