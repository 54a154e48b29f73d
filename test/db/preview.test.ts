import { createHmac, randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { createRoles } from '../helpers/roles.js';

const secret = `whsec_${randomBytes(32).toString('base64')}`;
const url = 'http://localhost:9/hook';

/** Two subscribers, each with a subscription to `orders` that only the first may write, and others. */
async function setUp() {
  const { database, roles } = await createRoles({
    alice: '',
    bob: '',
    operator: '',
    stranger: '',
  });
  const { sql } = database;
  const { alice, bob, operator } = roles;
  await sql.unsafe(`
    select pgstream.create_publications();
    create table orders (id integer primary key, total numeric(12, 2), card text);
    create table other (id integer primary key, card text);
    select pgstream.grant_subscriber('${alice.name}'), pgstream.grant_subscriber('${bob.name}'),
      pgstream.grant_operator('${operator.name}');
    grant usage on schema public to public;
    grant select, insert, update, delete, truncate, trigger on orders to ${alice.name};
    grant select (id), insert on orders to ${bob.name};
    grant insert on other to ${alice.name}`);
  const subscribe = async (by: postgres.Sql, more: Record<string, string | number> = {}) => {
    const row = { url, schema_name: 'public', table_name: 'orders', secret, ...more };
    await by`insert into pgstream.webhook_subscriptions ${by(row)}`;
    const [made] = await by<{ id: number }[]>`
      select max(id)::integer as id from pgstream.webhook_subscriptions`;
    return made!.id;
  };
  const headers = '{"authorization": "Bearer hidden"}';
  const alices = await subscribe(alice.sql);
  const bobs = await subscribe(bob.sql, { url: `${url}/bob` });
  await sql`update pgstream.webhook_subscriptions set headers = ${headers}::text::jsonb`;
  return { ...database, ...roles, alices, bobs, subscribe };
}

const previewOf = async (by: postgres.Sql, id: number) => {
  const [row] = await by`select * from pgstream.preview(${id}, new => '{"id": 1, "card": "c"}')`;
  return row!;
};

const insert = `insert into orders values (1, 5, 'c')`;

/** Runs statements in one transaction that is taken back, and returns the rows of the last one. */
async function takenBack(by: postgres.Sql, ...statements: string[]) {
  let rows: readonly postgres.Row[] = [];
  await by
    .begin(async (tx) => {
      for (const statement of statements) rows = await tx.unsafe(statement);
      throw new Error('taken back');
    })
    .catch((error: Error) => {
      if (error.message !== 'taken back') throw error;
    });
  return rows;
}

describe('a preview', () => {
  test('is signed for the owner, and for nobody else who may see it', async () => {
    const { sql, alice, operator, alices } = await setUp();
    const own = await previewOf(alice.sql, alices);
    const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': v1 } = own['headers'];
    const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
    const hmac = createHmac('sha256', key).update(`${id}.${at}.${own['body']}`).digest('base64');
    expect(v1).toBe(`v1,${hmac}`);
    expect(own['headers']).toMatchObject({ authorization: '***' });

    const seen = await previewOf(operator.sql, alices);
    expect(seen['headers']).not.toHaveProperty('webhook-signature');
    expect(seen['headers']).toMatchObject({ authorization: '***' });
    expect(seen['signature_note']).toMatch(/only the owner/);

    expect((await previewOf(sql, alices))['headers']).toMatchObject({
      authorization: 'Bearer hidden',
      'webhook-signature': expect.stringMatching(/^v1,/),
    });
  });

  test('is of no subscription of others', async () => {
    const { alice, stranger, bobs } = await setUp();
    await expect(previewOf(alice.sql, bobs)).rejects.toMatchObject({ code: 'P0002' });
    await expect(previewOf(stranger.sql, bobs)).rejects.toMatchObject({ code: '42501' });
    expect(await alice.sql`select from pgstream._signing where subscription = ${bobs}`).toEqual([]);
    expect(
      await takenBack(
        alice.sql,
        `set local pgstream.to_sign = 'x'`,
        'select distinct subscription from pgstream._signing',
      ),
    ).toHaveLength(1);
  });

  test('shows what the owner of the subscription may read, whoever looks', async () => {
    const { sql, bob, bobs } = await setUp();
    for (const by of [sql, bob.sql]) {
      const { body } = await previewOf(by, bobs);
      expect(body).toContain('"name":"id"');
      expect(body).not.toContain('"name":"card"');
    }
    await sql.unsafe(`revoke select (id) on orders from ${bob.name}`);
    expect(await previewOf(bob.sql, bobs)).toMatchObject({
      sent: false,
      body: null,
      problem: expect.stringMatching(/may not SELECT/),
    });
  });

  test('tells of events that would not reach anybody', async () => {
    const { sql, alice, alices } = await setUp();
    await sql`alter publication pgstream_insert drop table orders`;
    expect(await previewOf(alice.sql, alices)).toMatchObject({
      sent: false,
      problem: expect.stringMatching(/not published yet/),
    });
    await sql`alter table orders drop constraint orders_pkey`;
    const [gone] = await alice.sql`select * from pgstream.preview(${alices}, old => '{"id": 1}')`;
    expect(gone).toMatchObject({
      op: 'D',
      sent: false,
      problem: expect.stringMatching(/no replica identity/),
    });
  });

  test('says why it is not signed', async () => {
    const { alice, sql, subscribe } = await setUp();
    const seed = randomBytes(32).toString('base64');
    const both = `${secret} whsk_${seed}`;
    const ed25519 = await subscribe(alice.sql, { name: 'ed25519', secret: both });
    expect(await previewOf(alice.sql, ed25519)).toMatchObject({
      sent: true,
      signature_note: expect.stringMatching(/ed25519/),
    });
    const sealed = `sealed:v1:01234567:${'A'.repeat(60)}`;
    const other = await subscribe(alice.sql, { name: 'sealed', secret: sealed });
    expect(await previewOf(sql, other)).toMatchObject({
      signature_note: expect.stringMatching(/sealed/),
    });
    const two = await subscribe(alice.sql, { name: 'two', secret: `${secret} ${secret}` });
    const { headers } = await previewOf(alice.sql, two);
    expect(headers['webhook-signature'].split(' ')).toHaveLength(2);
  });

  test('names a table of several, which the subscription has to be to', async () => {
    const { sql, subscribe } = await setUp();
    const id = await subscribe(sql, { url: `${url}/all`, table_name: 'o*' });
    const of = (relation: string) => sql`
      select * from pgstream.preview(${id}, new => '{"id": 1}', relation => ${relation}::text::regclass)`;
    expect(await of('other')).toMatchObject([{ op: 'I', sent: true }]);
    await sql`create table elsewhere (id integer)`;
    await expect(of('elsewhere')).rejects.toMatchObject({ code: '22023' });
    await expect(
      sql`select * from pgstream.preview(${id}, new => '[1]', relation => 'other')`,
    ).rejects.toMatchObject({ code: '22023', message: 'a row is a JSON object, not array' });
  });
});

describe('a preview of statements', () => {
  const ofAll = (text: string) => `select * from pgstream.preview_changes($p$${text}$p$)`;

  test('leaves nothing behind', async () => {
    const { sql } = await setUp();
    const rows = await sql.unsafe(ofAll(`${insert}; create table more (); set search_path = x`));
    expect(rows.map(({ op, sent }) => [op, sent])).toEqual([
      ['I', true],
      ['I', true],
    ]);
    expect(await sql`select from orders`).toHaveLength(0);
    expect(await sql`select from pg_trigger where tgname like '%preview%'`).toHaveLength(0);
    expect(await sql`select to_regclass('more') as more`).toEqual([{ more: null }]);
    expect(
      await sql`select from pg_class where relname = 'pgstream_preview' and relpersistence = 't'`,
    ).toHaveLength(0);
  });

  test('runs them with the rights and the search_path of the caller', async () => {
    const { alice, operator, sql } = await setUp();
    await expect(alice.sql.unsafe(ofAll('delete from other'))).rejects.toMatchObject({
      code: '42501',
    });
    await expect(
      alice.sql.unsafe(ofAll('select secret from pgstream.subscription_secrets')),
    ).rejects.toMatchObject({ code: '42501' });
    await expect(operator.sql.unsafe(ofAll(insert))).rejects.toMatchObject({ code: '42501' });
    const who = `do $$ begin raise '%, %', current_user, current_setting('search_path'); end $$`;
    await expect(alice.sql.unsafe(ofAll(who))).rejects.toMatchObject({
      message: `${alice.name}, "$user", public`,
    });
    await sql`create schema apart`;
    await sql`create table apart.orders (id integer)`;
    await takenBack(sql, 'set search_path = apart', ofAll('insert into orders values (1)'));
  });

  test('tells what is wrong with them', async () => {
    const { alice } = await setUp();
    await expect(alice.sql.unsafe(ofAll('insert into nowhere values (1)'))).rejects.toMatchObject({
      code: '42P01',
    });
    await expect(alice.sql.unsafe(ofAll('commit'))).rejects.toThrow(/transaction/);
    await expect(alice.sql.unsafe(ofAll(`${insert}; ${insert}`))).rejects.toMatchObject({
      code: '23505',
    });
  });

  test('shows to each only what is his', async () => {
    const { alice, bob, sql, alices, bobs } = await setUp();
    const ids = async (by: postgres.Sql) =>
      (await by.unsafe(ofAll(insert))).map(({ subscription }) => Number(subscription));
    expect(await ids(alice.sql)).toEqual([alices]);
    expect(await ids(sql)).toEqual([alices, bobs]);
    // Whoever may set no trigger may not lock the table, nor see what others write in his name.
    expect(await ids(bob.sql)).toEqual([]);
  });

  test('sees what is written with the rights of others', async () => {
    const { alice, sql } = await setUp();
    await sql.unsafe(`
      create function place() returns void language sql security definer as $$ ${insert} $$;
      revoke insert on orders from ${alice.name};
      alter function place() owner to ${alice.name};
      create role writer_${alice.name}; grant insert on orders to writer_${alice.name};
      alter function place() owner to writer_${alice.name}`);
    const rows = await alice.sql.unsafe(ofAll('select place()'));
    expect(rows).toMatchObject([{ op: 'I', sent: true }]);
    await sql.unsafe(`drop owned by writer_${alice.name} cascade; drop role writer_${alice.name}`);
  });

  test('does not wait for those who write the table', async () => {
    const { alice, sql } = await setUp();
    await sql.begin(async (tx) => {
      await tx.unsafe(insert);
      await expect(alice.sql.unsafe(ofAll(insert))).rejects.toMatchObject({
        code: '55P03',
        message: 'table public.orders is being written by others',
      });
    });
  });
});

describe('a preview of a transaction', () => {
  const all = 'select * from pgstream.preview_changes()';
  const begin = 'select pgstream.preview_begin()';

  test('shows what it has changed so far, except what was taken back', async () => {
    const { alice } = await setUp();
    const rows = await takenBack(
      alice.sql,
      begin,
      insert,
      'savepoint a',
      'update orders set total = 6',
      'rollback to a',
      'update orders set total = 7',
      all,
    );
    expect(rows.map(({ op }) => op)).toEqual(['I', 'U']);
    expect(rows[1]!['body']).toContain('7.00');
    expect(await alice.sql`select from orders`).toHaveLength(0);
  });

  test('is of the tables that are named', async () => {
    const { sql } = await setUp();
    const some = `select pgstream.preview_begin('{other}')`;
    expect(await takenBack(sql, some, insert, all)).toEqual([]);
  });

  test('cannot be committed', async () => {
    const { alice } = await setUp();
    await expect(alice.sql.begin((tx) => tx.unsafe(`${begin}; ${insert}`))).rejects.toMatchObject({
      code: '2D000',
      hint: expect.stringContaining('rollback'),
    });
    await expect(alice.sql.unsafe(begin)).rejects.toMatchObject({ code: '2D000' });
    expect(await alice.sql`select from orders`).toHaveLength(0);
    expect(
      await alice.sql`select from pg_trigger where tgname like '%pgstream_preview%'`,
    ).toHaveLength(0);
  });

  test('begins once, and before anything is asked of it', async () => {
    const { alice } = await setUp();
    await expect(alice.sql.unsafe(all)).rejects.toMatchObject({
      code: '55000',
      hint: expect.stringContaining('preview_begin'),
    });
    await expect(takenBack(alice.sql, begin, begin)).rejects.toMatchObject({ code: '55006' });
  });

  test('says which tables it cannot follow', async () => {
    const { bob } = await setUp();
    const notices: postgres.Notice[] = [];
    const by = postgres(bob.url, { max: 1, onnotice: (notice) => notices.push(notice) });
    await takenBack(by, begin);
    await by.end();
    expect(notices.map(({ message }) => message)).toContain(
      'changes of public.orders are not shown',
    );
  });

  test('shows business events to those who listen', async () => {
    const { alice, sql, subscribe } = await setUp();
    await sql.unsafe(`select pgstream.grant_emitter('${alice.name}')`);
    const listen = { url, schema_name: '', table_name: '', event_types: '{order.*}' };
    await subscribe(sql, { ...listen, url: `${url}/events` });
    const emit = `select pgstream.emit('order.paid', '{"id": 1}')`;
    expect(await takenBack(alice.sql, begin, emit, all)).toEqual([]);
    await sql.unsafe(`select pgstream.grant_listener('${alice.name}')`);
    await subscribe(alice.sql, listen);
    const rows = await takenBack(alice.sql, begin, emit, `${emit.replace('order', 'cart')}`, all);
    expect(rows).toMatchObject([{ op: 'order.paid', sent: true }]);
    // a setting of anybody's making is no harm to emit()
    for (const position of ['x', '', '9'.repeat(30)]) {
      await takenBack(alice.sql, `set pgstream.preview_position = '${position}'`, emit);
    }
  });
});
