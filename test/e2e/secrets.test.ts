import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Webhook } from 'standardwebhooks';
import { expect, onTestFailed, onTestFinished, test } from 'vitest';
import { createDatabase } from '../helpers/database.js';
import { confirmed, patience, type Request } from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';
import { startReceiver } from '../helpers/receiver.js';
import { startRunner } from '../helpers/runner.js';

const newKey = () => randomBytes(32).toString('base64');
const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;

async function startItems() {
  const database = await createDatabase();
  const receiver = await startReceiver();
  onTestFinished(async () => {
    await receiver.close();
    await database.drop();
  });
  const { sql, url } = database;
  await sql`create table item (id integer primary key)`;
  const start = async (key: string) => {
    const runner = startRunner(['run', '--init'], {
      env: {
        PGSTREAM_POSTGRES_LISTENER_URL: url,
        PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: '127.0.0.1:0',
        ...(key && { PGSTREAM_SECRET_KEY: key }),
      },
    });
    onTestFailed(() => console.error(runner.stderr.slice(-6_000)));
    await runner.waitForLog(/"streaming"/);
    return runner;
  };
  const subscribe = (secret: string, name = '') =>
    sql`
      insert into pgstream.webhook_subscriptions (url, table_name, name, secret)
      values (${receiver.url}, 'item', ${name}, ${secret})`;
  const stored = async () => {
    const rows = await sql<{ secret: string }[]>`select secret from pgstream.subscription_secrets`;
    return rows.map(({ secret }) => secret);
  };
  const state = async () => {
    const [row] = await sql<{ state: string; last_error: string }[]>`
      select state, last_error from pgstream.webhook_status`;
    return row!;
  };
  /** Of the item; after a crash there may be several alike. */
  const eventOf = async (id: number) => {
    const isIts = ({ body }: Request) => body.includes(`"value":${id}}`);
    return (await receiver.waitUntil((all) => all.some(isIts), patience)).find(isIts)!;
  };
  return { sql, receiver, eventOf, start, subscribe, stored, state };
}

/** Of eleven different bytes. */
const weak = `whsec_${Buffer.from('0123456789a'.repeat(4)).toString('base64')}`;

/** Runs `pgstream seal` with a secret on its stdin. */
function sealSecret(key: string, secret: string, flags: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [path.resolve(import.meta.dirname, '../../dist/cli.js'), 'seal', ...flags],
      { env: { PATH: process.env['PATH'], PGSTREAM_SECRET_KEY: key } },
      (error, stdout) => (error ? reject(error) : resolve(stdout.trim())),
    );
    child.stdin!.end(`${secret}\n`);
  });
}

const isSigned = ({ body, headers }: Request, secret: string) => {
  new Webhook(secret).verify(body, headers as Record<string, string>);
  return true;
};

test('a secret is sealed by the runner, and signs on, also with a new key and a new secret', async () => {
  const { sql, eventOf, start, subscribe, stored } = await startItems();
  const [oldKey, key, secret, next] = [newKey(), newKey(), newSecret(), newSecret()];
  await subscribe(secret);
  await sql`insert into item values (0)`;
  const runner = await start(oldKey);
  await sql`insert into item values (1)`;
  const first = await eventOf(1);
  expect(isSigned(first, secret)).toBe(true);
  await eventually(async () => {
    expect(await stored()).toEqual([expect.stringMatching(/^sealed:v1:/)]);
  }, patience);
  const before = await stored();
  await runner.kill();

  const other = await start(`${key} ${oldKey}`);
  await eventually(async () => expect(await stored()).not.toEqual(before), patience);
  await sql`insert into item values (2)`;
  expect(isSigned(await eventOf(2), secret)).toBe(true);
  await sql`update pgstream.webhook_subscriptions set secret = ${`${next} ${secret}`}`;
  await sql`insert into item values (3)`;
  const third = await eventOf(3);
  expect([isSigned(third, next), isSigned(third, secret)]).toEqual([true, true]);
  await other.kill('SIGTERM');

  await start(key);
  await sql`insert into item values (4)`;
  expect(isSigned(await eventOf(4), next)).toBe(true);
});

test.each([
  ['no key', ''],
  ['another key', newKey()],
])('with %s nothing is sent unsigned, and events are kept', async (_, other) => {
  const { sql, receiver, start, subscribe, stored, state } = await startItems();
  const [key, secret] = [newKey(), newSecret()];
  await subscribe(secret);
  const runner = await start(key);
  await sql`insert into item values (1)`;
  await receiver.waitFor(1, patience);
  await eventually(async () => expect((await stored())[0]).toMatch(/^sealed/), patience);
  await runner.kill();

  const blind = await start(other);
  await sql`insert into item values (2)`;
  await confirmed(sql);
  await eventually(async () => {
    expect(await state()).toMatchObject({
      state: 'invalid',
      last_error: expect.stringContaining('which the runner does not hold'),
    });
  }, patience);
  expect(receiver.requests).toHaveLength(1);
  await blind.kill('SIGTERM');

  await start(key);
  expect(isSigned((await receiver.waitFor(2, patience))[1]!, secret)).toBe(true);
});

test('a secret that was sealed beforehand signs, for its subscription and no other', async () => {
  const { sql, receiver, start, subscribe, stored, state } = await startItems();
  const [key, secret] = [newKey(), newSecret()];
  const sealed = await sealSecret(key, secret, [
    '--owner',
    'postgres',
    '--url',
    receiver.url,
    '--table',
    'item',
    '--name',
    'mine',
  ]);
  await start(key);
  await subscribe(sealed, 'mine');
  await sql`insert into item values (1)`;
  expect(isSigned((await receiver.waitFor(1, patience))[0]!, secret)).toBe(true);
  await eventually(async () => expect(await stored()).not.toContain(sealed), patience);

  await sql`delete from pgstream.webhook_subscriptions`;
  await subscribe(sealed, 'stolen');
  await sql`insert into item values (2)`;
  await confirmed(sql);
  await eventually(async () => {
    expect(await state()).toMatchObject({
      state: 'invalid',
      last_error: expect.stringContaining('sealed for another subscription'),
    });
  }, patience);
  expect(receiver.requests).toHaveLength(1);
});

test('pgstream seal refuses what is no secret, and to work without a key', async () => {
  const flags = ['--owner', 'a', '--url', 'http://a/'];
  await expect(sealSecret(newKey(), 'guess me', flags)).rejects.toMatchObject({
    code: 1,
    message: expect.stringContaining('not one of Standard Webhooks'),
  });
  await expect(sealSecret(newKey(), weak, flags)).rejects.toMatchObject({
    code: 1,
    message: expect.stringContaining('not random'),
  });
  await expect(sealSecret('', newSecret(), flags)).rejects.toMatchObject({
    code: 2,
    message: expect.stringContaining('PGSTREAM_SECRET_KEY'),
  });
  await expect(sealSecret('short', newSecret(), flags)).rejects.toMatchObject({
    code: 2,
    message: expect.stringContaining('openssl rand'),
  });
});

test('a secret that comes over HTTP is sealed before it is stored, and signs', async () => {
  const { sql, receiver, eventOf, start, stored } = await startItems();
  const runner = await start(newKey());
  const [, address] = await runner.waitForLog(/"url":"(http:[^"]+)"/);
  const secret = newSecret();
  const subscribe = (given: string) =>
    fetch(`${address}/webhooks/subscribe`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ url: receiver.url, table: 'item', secret: given }),
    });
  expect((await subscribe('whsec_short')).status).toBe(400);
  const refused = await subscribe(weak);
  expect(refused.status).toBe(400);
  expect(await refused.text()).toContain('not random');
  await sql`create table kept (secret text)`;
  await sql.unsafe(`create function keep() returns trigger language plpgsql as
    $$ begin insert into public.kept values (new.secret); return new; end $$;
    create trigger keep before insert on pgstream.subscription_secrets
    for each row execute function keep()`);
  expect((await subscribe(secret)).status).toBe(201);
  expect(await sql`select from kept where secret not like 'sealed:v1:%'`).toHaveLength(0);
  await sql`insert into item values (1)`;
  const { body, headers } = await eventOf(1);
  new Webhook(secret).verify(body, headers as Record<string, string>);
  expect(await stored()).toEqual([expect.stringMatching(/^sealed:v1:/)]);
});
