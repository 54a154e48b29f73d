import type postgres from 'postgres';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { confirmed, patience } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver, type Receiver } from '../helpers/receiver.js';
import { createRoles } from '../helpers/roles.js';
import { startRunner } from '../helpers/runner.js';

/** Alice subscribes, an operator watches, and pgstream runs as a role that may only do that. */
async function start({ grant = 'select' } = {}) {
  const { database, roles } = await createRoles({
    alice: '',
    bob: '',
    operator: '',
    runner: 'replication',
  });
  const { sql } = database;
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  await sql.unsafe(`
    create table card (id integer primary key, owner text, number text);
    grant ${grant} on card to ${roles.alice.name};
    select pgstream.grant_subscriber('${roles.alice.name}');
    select pgstream.grant_subscriber('${roles.bob.name}');
    select pgstream.grant_operator('${roles.operator.name}');
    select pgstream.grant_runner('${roles.runner.name}')`);
  const init = startRunner(['init', '--pgurl', database.url]);
  expect(await init.exited).toMatchObject({ code: 0 });
  const startAs = async (url: string) => {
    const runner = startRunner(['run'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
      },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    return runner;
  };
  const runner = await startAs(roles.runner.url);
  await runner.waitForLog(/"streaming"/);
  const subscribe = async (table: string, as = roles.alice.sql) => {
    const [row] = await as<{ id: string }[]>`
      insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
      values (${receiver.url}, 'public', ${table}) returning id`;
    return Number(row!.id);
  };
  const stateOf = async (id: number) => {
    const [row] = await roles.operator.sql<postgres.Row[]>`
      select state, last_error, denied::integer, pending::integer
      from pgstream.webhook_status where id = ${id}`;
    return row;
  };
  return { database, sql, roles, receiver, runner, startAs, subscribe, stateOf };
}

/** What each event that was accepted says of the row: `action name=value …`. */
const arrivals = ({ requests }: Receiver) =>
  requests
    .filter(({ status = 500 }) => status < 300)
    .map(({ body }) => {
      type Columns = { name: string; value: unknown }[] | null;
      const { Data } = JSON.parse(body) as {
        Data: { action: string; columns: Columns; identity: Columns };
      };
      const values = (Data.columns ?? Data.identity ?? []).map(
        (c) => `${c.name}=${String(c.value)}`,
      );
      return [Data.action, ...values].join(' ');
    });

const arrived = (receiver: Receiver, event: string) =>
  eventually(() => arrivals(receiver).includes(event), patience);

test('pgstream run needs no more than was granted to its role', async () => {
  const { sql, roles, receiver, runner, startAs, subscribe, stateOf } = await start();
  const id = await subscribe('card');
  await sql`insert into card values (1, 'ann', '4242')`;
  await arrived(receiver, 'I id=1 owner=ann number=4242');
  await roles.alice.sql`select pgstream.wait_delivered(${id})`;

  receiver.reply({ status: 410 });
  await sql`update card set owner = 'eve'`;
  await eventually(async () => {
    expect(await stateOf(id)).toMatchObject({ state: 'disabled' });
    const rows = await roles.alice.sql`select state from pgstream.deliveries`;
    expect([...rows]).toMatchObject([{ state: 'pending' }]);
  }, patience);

  const standBy = await startAs(roles.runner.url);
  await standBy.waitForLog(/listening/);
  await runner.kill();
  await standBy.waitForLog(/"streaming"/);
  receiver.reply({ status: 204 });
  await roles.operator.sql`update pgstream.webhook_subscriptions set enabled = true`;
  await arrived(receiver, 'U id=1 owner=eve number=4242');
  await roles.alice.sql`select pgstream.wait_delivered()`;
  await standBy.kill('SIGTERM');
});

test.each(['operator', 'bob'] as const)('pgstream run refuses to start as %s', async (name) => {
  const { roles, startAs, sql } = await start();
  await sql.unsafe(`alter role ${roles[name].name} replication`);
  const refused = await startAs(roles[name].url);
  expect(await refused.exited).toMatchObject({ code: 1 });
  expect(refused.stderr).toContain(`select pgstream.grant_runner('${roles[name].name}');`);
});

test('a column that may not be read is left out, from the event and from its identity', async () => {
  const { sql, roles, receiver, subscribe } = await start({ grant: 'select (id, owner)' });
  await sql`alter table card replica identity full`;
  await subscribe('card');
  await sql`insert into card values (1, 'ann', '4242')`;
  await sql`update card set owner = 'eve'`;
  await sql`delete from card`;
  await arrived(receiver, 'D id=1 owner=ann'.replace('ann', 'eve'));
  expect(arrivals(receiver)).toEqual(['I id=1 owner=ann', 'U id=1 owner=eve', 'D id=1 owner=eve']);
  expect(JSON.stringify(receiver.requests)).not.toContain('4242');
  expect(JSON.stringify(receiver.requests)).not.toContain('number');
  await sql.unsafe(`grant select on card to ${roles.alice.name}`);
  await eventually(async () => {
    await sql`insert into card values ((select coalesce(max(id), 1) + 1 from card), 'x', '1')`;
    await confirmed(sql);
    expect(arrivals(receiver).at(-1)).toMatch(/number=1$/);
  }, patience);
});

test.each([
  ['the table', (role: string) => ['select on card', role], 'may not SELECT from public.card'],
  ['its schema', () => ['usage on schema public', 'public'], 'no USAGE on schema public'],
] as const)(
  'what is revoked with %s is not sent any more, and kept until it is granted again',
  async (_, what, reason) => {
    const { sql, roles, receiver, subscribe, stateOf } = await start();
    const id = await subscribe('card');
    await sql`insert into card values (0, 'first', '0')`;
    await arrived(receiver, 'I id=0 owner=first number=0');

    // Retried and stored ones as well as those to come.
    receiver.reply({ status: 500 });
    await sql`insert into card select n, 'kept', '4242' from generate_series(1, 5) n`;
    await eventually(() => receiver.requests.length > 1);
    const [privilege, grantee] = what(roles.alice.name);
    await sql.unsafe(`revoke ${privilege} from ${grantee}`);
    await eventually(async () => {
      expect(await stateOf(id)).toMatchObject({ state: 'denied' });
      expect((await stateOf(id))!['last_error']).toContain(reason);
    }, patience);
    const before = receiver.requests.length;
    receiver.reply({ status: 204 });
    await sql`insert into card values (6, 'later', '4242')`;
    await roles.alice.sql`select pgstream.replay(${id})`;
    await eventually(async () => expect(await stateOf(id)).toMatchObject({ pending: 6 }), patience);
    expect(receiver.requests.length).toBe(before);
    const sent = new Map(
      receiver.requests.map(({ headers, body }) => [headers['webhook-id'], body]),
    );

    await sql.unsafe(`grant ${privilege} to ${grantee}`);
    await arrived(receiver, 'I id=6 owner=later number=4242');
    await roles.alice.sql`select pgstream.wait_delivered(${id})`;
    expect(arrivals(receiver).toSorted().length).toBe(7);
    for (const { headers, body } of receiver.requests) {
      expect(body).toBe(sent.get(headers['webhook-id']) ?? body);
    }
    await eventually(async () => {
      expect(await stateOf(id)).toMatchObject({ state: 'healthy', pending: 0, denied: 0 });
    }, patience);
  },
);

test('stored events that show a revoked column are set aside, and others go on', async () => {
  const { sql, roles, receiver, subscribe, stateOf } = await start();
  const id = await subscribe('card');
  await sql`insert into card values (0, 'first', '0')`;
  await arrived(receiver, 'I id=0 owner=first number=0');
  await roles.operator.sql`update pgstream.webhook_subscriptions set enabled = false`;
  await sql`insert into card select n, 'kept', '4242' from generate_series(1, 5) n`;
  await eventually(async () => expect(await stateOf(id)).toMatchObject({ pending: 5 }), patience);
  await sql.unsafe(`revoke select on card from ${roles.alice.name};
    grant select (id, owner) on card to ${roles.alice.name}`);
  await eventually(async () => {
    await sql`insert into card values ((select max(id) + 1 from card), 'new', '4242')`;
    const rows = await roles.alice.sql`
      select from pgstream.deliveries where columns = '{id,owner}'`;
    expect(rows.length).toBeGreaterThan(0);
  }, patience);
  await roles.alice.sql`update pgstream.webhook_subscriptions set enabled = true`;
  await sql`insert into card values (1000, 'last', '4242')`;
  await arrived(receiver, 'I id=1000 owner=last');
  await eventually(async () => {
    const { denied, pending } = (await stateOf(id))!;
    expect(denied).toBeGreaterThanOrEqual(5);
    expect(pending).toBe(0);
  }, patience);
  expect(JSON.stringify(receiver.requests)).not.toContain('4242');
  await expect(roles.alice.sql`select pgstream.wait_delivered()`).rejects.toMatchObject({
    code: '55000',
    message: expect.stringContaining('may not be read'),
  });

  await sql.unsafe(`grant select on card to ${roles.alice.name}`);
  await arrived(receiver, 'I id=5 owner=kept number=4242');
  await roles.alice.sql`select pgstream.wait_delivered(${id})`;
  expect(await stateOf(id)).toMatchObject({ denied: 0, pending: 0 });
  const late = receiver.requests.filter(({ body }) => body.includes('4242'));
  expect(late.map(({ headers }) => headers['webhook-replay'])).toEqual(late.map(() => 'true'));
});

test('a wildcard stands for the tables that its owner may read', async () => {
  const { sql, roles, receiver, subscribe } = await start();
  await sql.unsafe('create table hidden (id integer primary key); create schema closed');
  await sql.unsafe('create table closed.card (id integer primary key)');
  await sql.unsafe(`grant select on closed.card to ${roles.alice.name}`);
  await sql.unsafe(`create table guarded (id integer primary key);
    alter table guarded enable row level security;
    grant select on guarded to ${roles.alice.name}`);
  await subscribe('*');
  await roles.alice.sql`
    insert into pgstream.webhook_subscriptions (url) values (${receiver.url})`;
  await sql`insert into hidden values (7)`;
  await sql`insert into closed.card values (7)`;
  await sql`insert into guarded values (7)`;
  await sql`insert into card values (8, 'ann', '1')`;
  await confirmed(sql);
  await eventually(() => expect(arrivals(receiver)).toHaveLength(2));
  expect(new Set(arrivals(receiver))).toEqual(new Set(['I id=8 owner=ann number=1']));
  await sql`select pgstream.allow_rls('guarded', ${roles.alice.name})`;
  await eventually(async () => {
    await sql`delete from guarded`;
    await sql`insert into guarded values (9)`;
    expect(arrivals(receiver)).toContain('I id=9');
  }, patience);
});

test('the events of an owner that is gone are kept for the one who follows', async () => {
  const { sql, roles, receiver, subscribe, stateOf } = await start();
  const id = await subscribe('card');
  await sql`insert into card values (1, 'ann', '1')`;
  await arrived(receiver, 'I id=1 owner=ann number=1');
  await roles.alice.sql.end();
  await sql.unsafe(`drop owned by ${roles.alice.name}; drop role ${roles.alice.name}`);
  await eventually(async () => {
    expect(await stateOf(id)).toMatchObject({ state: 'denied' });
    expect((await stateOf(id))!['last_error']).toContain('does not exist');
  }, patience);
  await sql`insert into card values (2, 'ann', '2')`;
  await confirmed(sql);
  expect(arrivals(receiver)).toHaveLength(1);
  await sql.unsafe(`grant select on card to ${roles.bob.name}`);
  await sql`update pgstream.webhook_subscriptions set owner = ${roles.bob.name}`;
  await arrived(receiver, 'I id=2 owner=ann number=2');
});

test('business events are for listeners alone, and for as long as they are', async () => {
  const { sql, roles, receiver } = await start();
  const { alice, bob } = roles;
  const subscribe = (as: postgres.Sql, path: string, type: string) => as`
    insert into pgstream.webhook_subscriptions (url, event_types)
    values (${receiver.url + path}, ${type})`;
  await expect(subscribe(alice.sql, '/alice', '{order.*}')).rejects.toMatchObject({
    code: '42501',
    hint: expect.stringContaining('pgstream.grant_listener('),
  });
  await sql`select pgstream.grant_listener(${alice.name}::regrole)`;
  await subscribe(alice.sql, '/alice', '{order.*}');
  await subscribe(bob.sql, '/bob', '{*}');
  await expect(alice.sql`select pgstream.emit('order.paid', '{}')`).rejects.toMatchObject({
    code: '42501',
  });
  await sql`select pgstream.emit('order.paid', '{"n": 1}')`;
  await receiver.waitFor(1, patience);
  await sql`select pgstream.grant_emitter(${bob.name}::regrole)`;
  await bob.sql`select pgstream.emit('order.paid', '{"n": 2}')`;
  await receiver.waitFor(2, patience);

  await sql`select pgstream.revoke_listener(${alice.name}::regrole)`;
  // What is revoked acts within seconds.
  await sql`select pg_sleep(3)`;
  await sql`select pgstream.emit('order.paid', '{"n": 3}')`;
  await sql`grant select on card to ${sql(bob.name)}`;
  await bob.sql`
    insert into pgstream.webhook_subscriptions (url, schema_name, table_name)
    values (${receiver.url + '/card'}, 'public', 'card')`;
  await sql`insert into card values (1, 'ann', '4242')`;
  await receiver.waitUntil((all) => all.some(({ path }) => path === '/card'), patience);
  await confirmed(sql);
  const heard = receiver.requests.filter(({ body }) => body.includes('order.paid'));
  expect(heard.map(({ path }) => path)).toEqual(['/alice', '/alice']);
  await expect(bob.sql`select * from pgstream.emitted_events`).rejects.toMatchObject({
    code: '42501',
  });
});
