import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { insertSubscription } from '../helpers/delivery-rows.js';

let database: TestDatabase;
let sql: postgres.Sql;

beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
  await sql`select pgstream.create_publications()`;
});
afterAll(() => database.drop());

const emit = (type: string | null, data = `'{}'`, key: string | null = null) =>
  sql.unsafe(`select pgstream.emit($1, ${data}, $2)`, [type, key] as never);

describe('emit', () => {
  test.each([
    [null, 'null is not a type', 'e.g. order.paid'],
    ['', '"" is not a type', 'e.g. order.paid'],
    ['I', '"I" is not a type', 'e.g. order.paid'],
    ['paid', '"paid" is not a type', 'e.g. order.paid'],
    ['order.', '"order." is not a type', 'e.g. order.paid'],
    ['.paid', '".paid" is not a type', 'e.g. order.paid'],
    ['order..paid', '"order..paid" is not a type', 'e.g. order.paid'],
    ['order.*', '"order.*" is not a type', 'e.g. order.paid'],
    ['order.paid\n', '"order.paid\\n" is not a type', 'e.g. order.paid'],
    ['order paid.now', 'is not a type', 'e.g. order.paid'],
    ['bestellung.übernommen', 'is not a type', 'e.g. order.paid'],
    [`a.${'b'.repeat(199)}`, 'is not a type', 'at most 200'],
    ['public.orders.updated', 'is a type of row changes', 'shop.order.changed'],
    ['a.b.c.deleted', 'is a type of row changes', 'shop.order.changed'],
  ])('refuses the type %j', async (type, message, hint) => {
    await expect(emit(type)).rejects.toMatchObject({
      code: '22023',
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    });
  });

  test.each(['order.paid', 'order.updated', 'a-b.c_d.0', `a.${'b'.repeat(198)}`])(
    'takes the type %j',
    async (type) => {
      await expect(emit(type)).resolves.toHaveLength(1);
    },
  );

  test('refuses data that is null or too large, and a key that is empty or too long', async () => {
    await expect(emit('a.b', 'null')).rejects.toMatchObject({
      code: '22004',
      hint: expect.stringMatching(/\{\}/),
    });
    await expect(emit('a.b', `to_jsonb(repeat('x', 64 * 1024 * 1024))`)).rejects.toMatchObject({
      code: '54000',
      detail: expect.stringMatching(/67108866 bytes/),
      hint: expect.stringMatching(/emit where it is/),
    });
    await expect(emit('a.b', `'{}'`, '')).rejects.toMatchObject({
      code: '22023',
      hint: expect.stringMatching(/null/),
    });
    await expect(emit('a.b', `'{}'`, 'ü'.repeat(501))).rejects.toMatchObject({
      code: '22023',
      message: 'the key of event "a.b" has 1002 bytes',
    });
    await expect(emit('a.b', `'null'`, 'k'.repeat(1000))).resolves.toHaveLength(1);
  });

  test('refuses to emit what nobody would get, and says what to run', async () => {
    await sql`alter publication pgstream_control drop table pgstream.emitted_events`;
    await expect(emit('a.b')).rejects.toMatchObject({
      code: '55000',
      hint: 'Run pgstream init, or: select pgstream.create_publications();',
    });
    await sql`select pgstream.create_publications()`;
    await expect(emit('a.b')).resolves.toHaveLength(1);
  });

  test('works while somebody else publishes updates and deletes of every table', async () => {
    await sql`create publication theirs for all tables`;
    await expect(emit('a.b')).resolves.toHaveLength(1);
    await sql`drop publication theirs`;
  });

  test('is refused in a read-only transaction, as every write is', async () => {
    await expect(
      sql.begin('read only', (tx) => tx`select pgstream.emit('a.b', '{}')`.execute()),
    ).rejects.toMatchObject({ code: '25006' });
  });

  test('is for those who were granted it, who cannot see or write what others emit', async () => {
    await sql.unsafe('create role "Emitter ""x"');
    try {
      await sql.begin(async (tx) => {
        const code = (text: string) =>
          tx
            .savepoint(async (sp) => {
              await sp`set local role "Emitter ""x"`;
              await sp.unsafe(text);
              await sp`reset role`;
            })
            .then(
              () => 'allowed',
              (error: postgres.PostgresError) => error.code,
            );
        expect(await code(`select pgstream.emit('a.b', '{}')`)).toBe('42501');
        await tx`select pgstream.grant_emitter('"Emitter ""x"')`;
        expect(await code(`select pgstream.emit('a.b', '{}')`)).toBe('allowed');
        expect(await code('select from pgstream.emitted_events')).toBe('42501');
        expect(await code('select from pgstream.webhook_subscriptions')).toBe('42501');
        expect(
          await code(`insert into pgstream.emitted_events (type, data) values ('a.b', '{}')`),
        ).toBe('42501');
      });
    } finally {
      await sql.unsafe('drop owned by "Emitter ""x"; drop role "Emitter ""x"');
    }
  });
});

describe('a subscription', () => {
  test.each<[Record<string, unknown>, string, string]>([
    [{ event_types: ['order.'] }, 'unknown event type "order."', 'order.*'],
    [{ event_types: ['order*'] }, 'unknown event type "order*"', 'order.*'],
    [{ event_types: ['*.paid'] }, 'unknown event type "*.paid"', 'order.*'],
    [{ event_types: ['.*'] }, 'unknown event type ".*"', 'order.*'],
    [{ event_types: ['**'] }, 'unknown event type "**"', 'order.*'],
    [{ event_types: ['I', 'a.b'], table_name: 't' }, '"a.b" is of no schema', 'of its own'],
    [{ event_types: ['a.*'], schema_name: '*' }, '"a.*" is of no schema', 'Leave schema_name'],
    [{ format: 'avro' }, 'unknown format "avro"', 'debezium'],
    [{ format: 'cloudevents_binary', batch_size: 2 }, 'cannot be sent in batches', 'batch_size'],
    [
      { format: 'cloudevents_binary', headers: { 'CE-Id': '1' } },
      'header "CE-Id" is set by pgstream',
      'Leave it out',
    ],
  ])('of %j is refused', async ({ headers, ...row }, message, hint) => {
    const values = { ...row, ...(headers ? { headers: sql.json(headers as never) } : {}) };
    await expect(insertSubscription(sql, values)).rejects.toMatchObject({
      code: '22023',
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    });
  });

  test('cannot be changed into one that would be refused', async () => {
    const id = await insertSubscription(sql, { event_types: ['a.b'] });
    await expect(
      sql`update pgstream.webhook_subscriptions set table_name = 't' where id = ${id}`,
    ).rejects.toMatchObject({ code: '22023' });
    await sql`
      update pgstream.webhook_subscriptions set format = 'cloudevents_binary' where id = ${id}`;
    await expect(
      sql`update pgstream.webhook_subscriptions set batch_size = 9 where id = ${id}`,
    ).rejects.toMatchObject({ code: '22023' });
  });

  test('to business events alone publishes no table, and one to everything each of them', async () => {
    await sql`delete from pgstream.webhook_subscriptions`;
    await sql`create table item (id int primary key)`;
    const published = () => sql`
      select p.pubname from pg_publication_rel r
      join pg_publication p on p.oid = r.prpubid
      where r.prrelid = 'item'::regclass order by 1`;
    await insertSubscription(sql, { event_types: ['order.*', 'a.b'] });
    expect(await published()).toEqual([]);
    await insertSubscription(sql, { event_types: ['order.*', 'D'] });
    expect(await published()).toEqual([{ pubname: 'pgstream_update' }]);
    await insertSubscription(sql, { event_types: ['*'] });
    expect(await published()).toHaveLength(2);
  });
});
