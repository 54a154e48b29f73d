/** Every format through the real runner. Byte for byte they are shown in docs/formats.md. */
import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import { expectCloudEvent } from '../helpers/cloud-event.js';
import {
  accepted,
  confirmed,
  drained,
  idOf,
  patience,
  startItems,
  stored,
  type Request,
} from '../helpers/items.js';
import { eventually } from '../helpers/poll.js';

const formats = ['pgstream', 'standard', 'cloudevents', 'cloudevents_binary', 'debezium'] as const;
type Format = (typeof formats)[number];
const secret = `whsec_${randomBytes(32).toString('base64')}`;
const long = randomBytes(9_000).toString('hex');

/** A subscription in each format to all tables, at paths of one endpoint named after the formats. */
async function startFormats(more: Record<string, string | number | boolean> = {}) {
  const items = await startItems({ subscription: { table_name: 'nothing' } });
  const { sql, receiver, subscribe } = items;
  await sql`
    create table "Öl %" (id bigint primary key, total numeric, ratio float8, ok boolean,
      details jsonb, raw json, list text[], bytes bytea, big text)`;
  const ids = new Map<Format, number>();
  for (const format of formats) {
    const url = `${receiver.url}/${format}`;
    const row = { url, table_name: '', event_types: '{*}', ordering: 'strict', format, secret };
    ids.set(format, await subscribe({ ...row, ...more }));
  }
  const of = (format: Format, among: readonly Request[] = receiver.requests) =>
    among.filter(({ path }) => path === `/${format}`);
  return { ...items, of, ids };
}

/** As far as it matters to the types. */
type Body = Record<string, never> & { ts_ms: number };

const bodies = (requests: readonly Request[]) =>
  requests.map(({ body }) => JSON.parse(body) as Body);

/** The attributes of a CloudEvent in binary mode. */
const attributesOf = ({ headers }: Request) =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      name.startsWith('ce-') ? [[name.slice(3), decodeURIComponent(value as string)]] : [],
    ),
  );

/** What a receiver may compare of two deliveries of an event: all but the time of the attempt. */
const lasting = ({ headers, body }: Request) => ({
  body,
  headers: Object.fromEntries(
    Object.entries(headers).filter(([name]) => /^(ce-|content-type|webhook-id)/.test(name)),
  ),
});

const expectRepeatable = (requests: readonly Request[]) => {
  const first = new Map<string, unknown>();
  for (const request of requests) {
    const key = `${request.path} ${idOf(request)}`;
    expect(lasting(request)).toEqual(first.get(key) ?? lasting(request));
    first.set(key, lasting(request));
  }
  return first.size;
};

test('inserts, updates, changes of key, deletes, truncates and emitted events say the same in every format', async () => {
  const { sql, receiver, of } = await startFormats();
  await sql`
    insert into "Öl %" values (9007199254740993, 12345678901234567890.1234567890, 'NaN', true,
      '{"a": [1.10, "x\\ny"], "b": null}', ${'{"z":\n\t1e400, "z":"\\u0000"}'}::text::json, '{a,"b c"}', '\\x00ff',
      ${long})`;
  await sql`insert into "Öl %" (id) values (2)`;
  await sql`update "Öl %" set ok = false where id > 2`;
  await sql`update "Öl %" set id = 3 where id = 2`;
  await sql`delete from "Öl %" where id = 3`;
  await sql`truncate "Öl %"`;
  await sql`select pgstream.emit('order.paid', '{"total": 0.10}')`;
  await confirmed(sql);

  const first = {
    ratio: 'NaN',
    ok: true,
    details: { a: [1.1, 'x\ny'], b: null },
    raw: { z: '\0' },
    list: '{a,"b c"}',
    bytes: '00ff',
    big: long,
  };
  const digits = '"id":9007199254740993,"total":12345678901234567890.1234567890,';
  const nulls = {
    total: null,
    ratio: null,
    ok: null,
    details: null,
    raw: null,
    list: null,
    bytes: null,
    big: null,
  };
  const data = [
    { new: first, old: null },
    { new: { id: 2, ...nulls }, old: null },
    { new: { ok: false }, old: { id: expect.anything() }, unchanged: ['big'] },
    { new: { id: 3, ...nulls }, old: { id: 2 } },
    { new: null, old: { id: 3 } },
    { new: null, old: null },
    { total: 0.1 },
  ];
  const rowType = 'public.Öl %';
  const verbs = ['inserted', 'inserted', 'updated', 'updated', 'deleted', 'truncated'];
  const types = [...verbs.map((verb) => `${rowType}.${verb}`), 'order.paid'];

  const standard = bodies(of('standard'));
  expect(standard).toMatchObject(data.map((one, i) => ({ type: types[i], data: one })));
  expect(standard[2]!['data']!['new']).not.toHaveProperty('big');
  expect(of('standard')[0]!.body).toContain(digits);
  expect(of('standard')[6]!.body).toContain('{"total": 0.10}');

  const structured = bodies(of('cloudevents'));
  expect(structured).toMatchObject(data.map((one, i) => ({ type: types[i], data: one })));
  of('cloudevents').forEach((request, i) => {
    expect(request.headers['content-type']).toBe('application/cloudevents+json');
    expectCloudEvent(structured[i]!);
    expect(structured[i]!['id']).toBe(idOf(request));
    expect(structured[i]!['subject']).toBe(i < 6 ? rowType : undefined);
  });

  const binary = of('cloudevents_binary');
  expect(bodies(binary)).toMatchObject(data);
  binary.forEach((request, i) => {
    expect(request.headers['content-type']).toBe('application/json');
    const attributes = attributesOf(request);
    expectCloudEvent(attributes);
    const { id: _, data: __, datacontenttype: ___, ...same } = structured[i]!;
    expect(attributes).toEqual({ ...same, id: idOf(request) });
  });

  const debezium = bodies(of('debezium'));
  const ops = ['c', 'c', 'u', 'u', 'd', 't', 'm'];
  expect(debezium.map(({ op }) => op)).toEqual(ops);
  expect(debezium.slice(0, 6)).toMatchObject([
    { before: null, after: first },
    { before: null, after: data[1]!.new },
    { before: null, after: { ok: false }, unchanged: ['big'] },
    { before: { id: 2 }, after: { id: 3 } },
    { before: { id: 3 }, after: null },
    { before: null, after: null },
  ]);
  expect(debezium[6]!['message']).toEqual({ prefix: 'order.paid', content: { total: 0.1 } });
  const [server] = await sql`select current_database() as name`;
  for (const { source, ts_ms: at } of debezium) {
    expect(source).toMatchObject({ db: server!['name'], ts_ms: at, snapshot: 'false' });
    expect(Math.abs(Date.now() - at)).toBeLessThan(3_600_000);
  }
  expect(debezium[0]!['source']).toMatchObject({ schema: 'public', table: 'Öl %' });

  const plain = bodies(of('pgstream'));
  expect(plain.map(({ Data, type }) => (Data ? Data['action'] : type))).toEqual([
    'I',
    'I',
    'U',
    'U',
    'D',
    'T',
    'order.paid',
  ]);
  for (const { headers, body } of receiver.requests) {
    expect(() => new Webhook(secret).verify(body, headers as Record<string, string>)).not.toThrow();
  }
});

test('after crashes, from memory and from the table, each format sends the same bytes and headers again', async () => {
  const { sql, receiver, runner, start, ids } = await startFormats({ ordering: 'none' });
  receiver.reply({ status: 503 });
  await sql`insert into "Öl %" (id, details, raw) values (1, '{"a": "\\\\"}', E'{"a":\n1}')`;
  await sql`update "Öl %" set big = ${long}`;
  await sql`delete from "Öl %"`;
  await sql`select pgstream.emit('order.paid', '{"a": "ü\\t"}', key => 'k')`;
  await receiver.waitFor(20, patience);
  await runner.kill();
  const second = await start();
  await eventually(async () => (await stored(sql)) === 20, patience);
  await second.kill();
  await start();
  receiver.reply({});
  for (const id of ids.values()) await sql`select pgstream.replay(${id})`;
  await drained(sql);
  expect(expectRepeatable(receiver.requests)).toBe(20);
  expect(accepted(receiver)).toHaveLength(20);
});

test('batches are arrays of what is sent alone, with the content type of the format', async () => {
  const { sql, receiver, ids, of } = await startFormats();
  await sql`
    update pgstream.webhook_subscriptions set batch_size = 10
    where format <> 'cloudevents_binary' and id = any(${[...ids.values()]}::bigint[])`;
  await sql`insert into "Öl %" (id) select generate_series(1, 30)`;
  await confirmed(sql);
  for (const format of formats.filter((one) => one !== 'cloudevents_binary')) {
    const requests = of(format);
    const type = format === 'cloudevents' ? 'cloudevents-batch+json' : 'json';
    const members = requests.flatMap((request) => {
      expect(request.headers['content-type']).toBe(`application/${type}`);
      return JSON.parse(request.body) as Body[];
    });
    expect(members).toHaveLength(30);
    if (format === 'cloudevents') {
      for (const member of members) expectCloudEvent(member);
      const listed = requests.map(({ headers }) => headers['pgstream-event-ids']).join(' ');
      expect(members.map(({ id }) => id).join(' ')).toBe(listed);
    }
  }
  expect(of('cloudevents_binary')).toHaveLength(30);
  for (const { headers, body } of receiver.requests) {
    expect(() => new Webhook(secret).verify(body, headers as Record<string, string>)).not.toThrow();
  }
});

test('what waits is sent as it was made when the format changes, and never in one request with other formats', async () => {
  const { sql, receiver, ids, of, configure } = await startFormats();
  const id = ids.get('cloudevents_binary')!;
  await sql`delete from pgstream.webhook_subscriptions where id <> ${id}`;
  receiver.reply({ status: 503 });
  await sql`insert into "Öl %" (id) values (1), (2)`;
  await eventually(async () => (await stored(sql)) === 2, patience);
  await configure({ format: 'cloudevents', batch_size: 10 }, id);
  await sql`insert into "Öl %" (id) values (3), (4)`;
  await configure({ format: 'standard' }, id);
  await sql`insert into "Öl %" (id) values (5)`;
  receiver.reply({});
  await sql`select pgstream.replay(${id})`;
  await drained(sql);
  const told = accepted(receiver).map(({ headers, body }) => {
    const event = JSON.parse(body) as unknown;
    const kind = Array.isArray(event) ? `${event.length} in an array` : 'alone';
    return `${headers['content-type']} ${headers['ce-type'] ? 'with attributes' : ''} ${kind}`;
  });
  expect(told.slice(0, 2)).toEqual(Array(2).fill('application/json with attributes alone'));
  expect(told.slice(2).join()).toMatch(
    /^(application\/cloudevents-batch\+json {2}(1|2) in an array,)+application\/json {2}1 in an array$/,
  );
  expect(expectRepeatable(of('cloudevents_binary'))).toBeGreaterThan(3);
});

test('metadata of the schema log stands in each format where it is asked for', async () => {
  const { sql, of } = await startFormats({ inject_metadata: true });
  await sql`insert into "Öl %" (id) values (1)`;
  await confirmed(sql);
  const [plain, standard, structured, binary, debezium] = formats.map(
    (format) => bodies(of(format))[0]!,
  );
  const metadata = plain!['Data']!['metadata'];
  expect(metadata).toMatchObject({ schema_id: expect.stringMatching(/^[a-v0-9]{20}$/) });
  expect(standard!['data']!['metadata']).toEqual(metadata);
  expect(structured!['data']!['metadata']).toEqual(metadata);
  expect(binary!['metadata']).toEqual(metadata);
  expect(debezium!['source']!['metadata']).toEqual(metadata);
});
