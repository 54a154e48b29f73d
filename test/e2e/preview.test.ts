/** What previews foretell is what the runner sends for the same changes, byte for byte. */
import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { expect, onTestFinished, test } from 'vitest';
import { confirmed, startItems } from '../helpers/items.js';
import { tableStory, typeColumns } from '../helpers/type-tables.js';
import { typeDefinitions } from '../helpers/type-values.js';

interface Preview {
  subscription: string;
  url: string;
  op: string;
  sent: boolean | null;
  body: string | null;
  headers: Record<string, string>;
  problem: string | null;
  signature_note: string | null;
}

interface Told {
  path: string;
  body: string;
  headers: Record<string, unknown>;
}

const formats = ['pgstream', 'standard', 'cloudevents', 'cloudevents_binary', 'debezium'] as const;
const owner = `reader_${randomBytes(4).toString('hex')}`;
const secret = `whsec_${randomBytes(24).toString('base64')}`;

/** What is known at the commit or the attempt only. */
const normalBody = (body: string) =>
  body
    .replace(/"timestamp":"[^"]+","lsn":"[^"]+"/g, '"timestamp":"","lsn":""')
    .replace(/"(timestamp|time)":"20[^"]+Z"/g, '"$1":""')
    .replace(/"at": "20[^"]+"/, '"at": ""')
    .replace(/"id":"evt_[^"]+"/g, '"id":""')
    .replace(/"(ts_ms|ts_us|txId|lsn)":\d+/g, '"$1":0');

const ofPgstream = /^(content-type|x-|ce-|webhook-|pgstream-)/;
const ofItsOwn = /^(webhook-(id|timestamp|signature)|ce-(id|time)|pgstream-event-ids)$/;

const normalHeaders = (headers: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => ofPgstream.test(name))
      .map(([name, value]) => [name, ofItsOwn.test(name) ? 'there' : value]),
  );

const normal = ({ path, body, headers }: Told) => ({
  path,
  body: normalBody(body),
  headers: normalHeaders(headers),
});

/** Subscriptions in every format, with these columns, at paths that are named after both. */
async function startPreviews(kinds: Record<string, Record<string, string | number | boolean>>) {
  const items = await startItems({ subscription: { table_name: 'nothing', ordering: 'strict' } });
  const { sql, receiver, subscribe } = items;
  const add = async () => {
    for (const [kind, columns] of Object.entries(kinds)) {
      for (const format of formats) {
        if (format === 'cloudevents_binary' && 'batch_size' in columns) continue;
        const url = `${receiver.url}/${kind}/${format}`;
        await subscribe({ table_name: '', ordering: 'strict', url, format, ...columns });
      }
    }
    await sql`update pgstream.webhook_subscriptions set headers = '{"x-mine": "a b"}'
      where url like '%/plain/%'`;
  };
  const foretell = async (statements: string) => {
    const rows = await sql<Preview[]>`select * from pgstream.preview_changes(${statements})`;
    return rows.map((row) => ({ ...row, path: new URL(row.url).pathname }));
  };
  /** Previews the statements, runs them, and expects that what arrives is what was foretold. */
  const expectForetold = async (
    statements: string,
    arrange = (told: Told[]): unknown[] => told,
  ) => {
    const foretold = await foretell(statements);
    const from = receiver.requests.length;
    await sql.unsafe(statements);
    await confirmed(sql);
    const arrived = receiver.requests.slice(from);
    for (const path of new Set([...foretold, ...arrived].map((told) => told.path))) {
      const sent = foretold.flatMap((row) =>
        row.sent && row.path === path ? [{ ...row, body: row.body! }] : [],
      );
      expect({ statements, requests: arrange(sent.map(normal)) }).toEqual({
        statements,
        requests: arrange(arrived.filter((one) => one.path === path).map(normal)),
      });
    }
    return foretold;
  };
  return { ...items, add, foretell, expectForetold };
}

test('each change of each kind in each format', async () => {
  const { sql, add, expectForetold } = await startPreviews({
    plain: { secret, event_types: '{*}' },
    ids: { inject_metadata: true },
  });
  await sql.unsafe(`
    create domain words as text;
    create table "Öl ""%" (id bigint primary key, total numeric, ratio float8, ok boolean,
      details jsonb, raw json, list text[], bytes bytea, w words, "c ""\\é" text,
      twice bigint generated always as (id * 2) stored);
    create table whole (id integer, v text, n numeric(6, 2));
    alter table whole replica identity full;
    create table bare (v text);
    create table by_code (id integer primary key, code text not null unique, n integer);
    alter table by_code replica identity using index by_code_code_key;
    create table parted (id integer, v text, primary key (id)) partition by range (id);
    create table low partition of parted for values from (0) to (100);
    create table high (v text, gone integer, id integer not null);
    alter table high drop column gone;
    alter table parted attach partition high for values from (100) to (200);
    create table parent (id integer primary key);
    create table child (id integer primary key, parent integer references parent on delete cascade);
    create table audit (id integer primary key generated always as identity, what text);
    create table audited (id integer primary key);
    create function audit() returns trigger language plpgsql as $$
    begin
      insert into audit (id, what) overriding system value values (new.id, 'seen');
      perform pgstream.emit('audited.row', to_jsonb(new));
      return null;
    end $$;
    create trigger a after insert on audited for each row execute function audit();
    create table late (id integer primary key);
    create constraint trigger l after insert on late deferrable initially deferred
      for each row execute function audit();
    create unlogged table nobody_sees (id integer primary key);
  `);
  await add();
  const stories = [
    String.raw`insert into "Öl ""%" values (9007199254740993, 1234567890.10, 'NaN', true,
      '{"a": [1.10, "x\ny"], "é": null}', E'{"z":\n\t1e400, "z": "\\u0000"}', '{a,"b c"}', '\x00ff',
      'w', E'tab\t "q" \\ \x7f \x01 €😀')`,
    `insert into "Öl ""%" (id, total, ratio) values (2, 'Infinity', '-Infinity'), (3, 'NaN', 1e-7)`,
    `update "Öl ""%" set ok = false`,
    `update "Öl ""%" set id = 4 where id = 3; update "Öl ""%" set total = 1.0; update "Öl ""%" set total = 1.00`,
    `delete from "Öl ""%" where id = 4; truncate "Öl ""%"`,
    `insert into whole values (1, 'a', 1), (1, null, null); update whole set v = 'b';
     update whole set v = v; delete from whole`,
    `insert into bare values ('a'), ('a'); truncate bare`,
    `insert into by_code values (1, 'a', 1); update by_code set n = 2; update by_code set id = 2;
     update by_code set code = 'b'; delete from by_code`,
    `insert into parted values (1, 'a'), (101, 'b'); update parted set v = 'c';
     update parted set id = 102 where id = 1; update low set v = 'd'; delete from high where id = 101;
     truncate parted`,
    `insert into parent values (1), (2); insert into child values (1, 1), (2, 2);
     delete from parent; truncate parent cascade`,
    `insert into audited values (1), (2); insert into audited values (3)`,
    `insert into late values (11); insert into late values (12); delete from audit`,
    `insert into parent values (5) on conflict (id) do update set id = parent.id;
     insert into parent values (5) on conflict (id) do update set id = 6`,
    `with a as (insert into parent values (7), (8) returning id)
     insert into child select id, null from a`,
    `do $$ begin
       insert into parent values (20);
       begin insert into parent values (21); perform pgstream.emit('not.this', '{}');
         raise 'no'; exception when others then null; end;
       perform pgstream.emit('order.paid', '{"n": 9007199254740993.10, "u": "ü\\t"}', key => 'k');
       insert into parent values (22);
     end $$`,
  ];
  for (const story of stories) {
    const foretold = await expectForetold(story);
    expect(foretold.filter(({ sent }) => sent).length).toBeGreaterThan(formats.length);
  }
  expect(await expectForetold('insert into nobody_sees values (1)')).toEqual([]);
});

test('values of every type', async () => {
  const { sql, add, expectForetold } = await startPreviews({
    plain: { schema_name: 'types', event_types: '{I,U,D}' },
  });
  await sql`create schema types`;
  await sql.unsafe(typeDefinitions);
  const [server] = await sql`select current_setting('server_version_num')::integer as version`;
  const stories: string[] = [];
  for (const [group, all] of await typeColumns(sql)) {
    const columns = all.filter(({ name }) => name !== 'rounded' || server!['version'] >= 150000);
    const [create, identity, ...changes] = tableStory(`types."${group}"`, 'full', columns);
    await sql.unsafe(`${create}; ${identity}`);
    stories.push(changes.slice(0, -1).join(';'));
  }
  await add();
  // The order in which a statement finds rows depends on what has been taken back before.
  const inAnyOrder = (told: Told[]) => told.map(({ path, body }) => `${path} ${body}`).sort();
  for (const story of stories) await expectForetold(story, inAnyOrder);
});

test('filters, payloads, batches, and columns that the owner may not read', async () => {
  const { sql, receiver, add, subscribe, expectForetold, foretell } = await startPreviews({
    some: {
      schema_name: 'public',
      table_name: 'orders',
      filter: `new.status = 'paid' or old.id = 2`,
    },
    shaped: {
      schema_name: 'public',
      table_name: 'orders',
      payload: `jsonb_build_object('op', op, 'total', new.total, 'tag', new.doc -> 'tag', 'at', now())`,
      filter: `new.doc ->> 'tag' = 'x' or new.day < '2020-01-01' or new.flags @> '{a}'`,
    },
    batches: { table_name: 'orders', batch_size: 2, batch_wait: '0', secret, max_in_flight: 1 },
  });
  await sql.unsafe(`
    create table orders (id bigint primary key, total numeric(12,2), status text, doc jsonb,
      day date, flags text[], card text);
    create role ${owner} in role pg_monitor;
    grant usage on schema public to ${owner};
    grant select (id, status) on orders to ${owner};
    select pgstream.grant_subscriber('${owner}')`);
  onTestFinished(() => sql.unsafe(`drop owned by ${owner}; drop role ${owner}`).then(() => {}));
  await add();
  for (const format of formats) {
    await sql.begin(async (tx) => {
      await tx.unsafe(`set local role ${owner}`);
      await tx`insert into pgstream.webhook_subscriptions (url, table_name, format, ordering,
          inject_metadata, event_types)
        values (${`${receiver.url}/narrow/${format}`}, 'orders', ${format}, 'strict', true,
          '{I,U,D,T}')`;
    });
  }
  await subscribe({
    url: `${receiver.url}/wrong`,
    schema_name: 'public',
    table_name: 'orders',
    filter: '1 / new.id = 1',
  });
  await subscribe({ url: `${receiver.url}/off`, table_name: 'orders', enabled: false });
  const stories = [
    `insert into orders values (1, 2.5, 'new', '{"tag": "x"}', '2024-02-29', '{a}', 'secret')`,
    `insert into orders values (2, 7, 'paid', '{"tag": null}', '2019-01-01', null, 'secret')`,
    `update orders set status = 'paid' where id = 1`,
    `update orders set id = 3 where id = 2`,
    'delete from orders where id = 3',
    'truncate orders',
  ];
  for (const story of stories) {
    const foretold = await expectForetold(story);
    expect(foretold.filter(({ path }) => path === '/off')).toMatchObject([
      { sent: false, problem: expect.stringContaining('disabled'), body: expect.any(String) },
    ]);
    expect(foretold.some(({ body }) => body?.includes('secret') && /narrow/.test(body))).toBe(
      false,
    );
  }
  const [wrong] = (await foretell('insert into orders (id) values (0)')).filter(
    ({ path }) => path === '/wrong',
  );
  expect(wrong).toMatchObject({ sent: false, problem: 'division by zero', body: null });
});

test('a row that is given as JSON', async () => {
  const { sql, receiver, subscribe } = await startPreviews({});
  await sql`create table orders (id bigint primary key, total numeric(12,2), doc jsonb, at timestamptz)`;
  const ids: [number, string][] = [];
  for (const format of formats) {
    const url = `${receiver.url}/${format}`;
    const columns = { schema_name: 'public', table_name: 'orders', inject_metadata: true };
    ids.push([await subscribe({ url, secret, format, ordering: 'strict', ...columns }), format]);
  }
  await sql`insert into orders values (1, 2.5, '{"a": [1.50, "ü"]}', '2024-01-01 12:00+02')`;
  await sql`update orders set total = 3`;
  await sql`delete from orders`;
  await sql`truncate orders`;
  await confirmed(sql);
  const before = { id: 1, total: 2.5, doc: { a: ['1.50'] }, at: '2024-01-01T12:00:00+02:00' };
  const row = JSON.stringify(before).replace('["1.50"]', '[1.50, "ü"]');
  const next = row.replace('2.5,', '3,');
  for (const [id, format] of ids) {
    const sides: [string | null, string | null][] = [
      [row, null],
      [next, row],
      [null, next],
      [null, null],
    ];
    const foretold: Told[] = [];
    for (const [now, old] of sides) {
      const [request] = await sql<Preview[]>`
        select * from pgstream.preview(${id}, ${now}::text::jsonb, ${old}::text::jsonb)`;
      expect(request).toMatchObject({ sent: true, problem: null, signature_note: null });
      expect(() => new Webhook(secret).verify(request!.body!, request!.headers)).not.toThrow();
      foretold.push({ path: `/${format}`, ...request!, body: request!.body! });
    }
    const arrived = receiver.requests.filter(({ path }) => path === `/${format}`);
    expect(foretold.map(normal)).toEqual(arrived.map(normal));
  }
});
