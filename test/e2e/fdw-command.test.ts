import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';
import { createForeignPair, startRemote } from '../helpers/foreign.js';
import { startRunner } from '../helpers/runner.js';

const hasPsql = spawnSync('psql', ['--version']).status === 0;
const password = `p'q%27`;
let remote: TestDatabase;
let local: TestDatabase;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'pgstream-fdw-'));
  remote = await startRemote(password);
  local = await createDatabase({ template: false });
  await remote.sql.unsafe(`
    create type mood as enum ('it''s', 'glad');
    create table customer_a (id bigint primary key, stripe_id text not null unique, mood mood);
    create table customer_b ("the key" integer primary key, data jsonb not null default '{}');
    create table unkeyed (id integer);
    insert into customer_a values (1, 'cus_1', 'it''s');
    insert into customer_b values (2);
    create schema "weird ""name"""; create table "weird ""name"""."t'able" (id integer)`);
});
afterAll(async () => {
  await local.drop();
  await remote.drop();
  await rm(directory, { recursive: true });
});

async function pgstream(...args: string[]) {
  const runner = startRunner(args);
  const { code } = await runner.exited;
  return { code, stdout: runner.stdout, stderr: runner.stderr };
}

const fdw = (...args: string[]) => pgstream('fdw', '--remote', remote.url, ...args);

async function psql(text: string) {
  const file = path.join(directory, 'script.sql');
  await writeFile(file, text);
  await promisify(execFile)('psql', ['-X', '-q', '-d', local.url, '-f', file]);
}

test('fdw prints what psql needs, with the names and the password quoted', async () => {
  const { stdout, stderr } = await fdw(
    '--server',
    'myserver',
    '--fetch',
    '100',
    '--into-schema',
    'my"schema',
    '--views-schema',
    'vw',
  );
  expect(stderr).toBe('');
  const { hostname, port } = new URL(remote.url);
  const inOrder = [
    'create extension if not exists postgres_fdw;',
    'create server if not exists myserver',
    `host '${hostname}', port '${port}', dbname 'postgres'`,
    "fetch_size '100'",
    'create user mapping if not exists for current_user',
    `options (user 'postgres', password 'p''q%27');`,
    'create schema if not exists "my""schema";',
    'create foreign table if not exists "my""schema".customer_a (',
    'create schema if not exists vw;',
    'create materialized view if not exists vw.customer_a as select * from "my""schema".customer_a;',
  ];
  const places = inOrder.map((text) => stdout.indexOf(text));
  expect(places).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
});

test('fdw prints one part, or all of them as JSON', async () => {
  const only = await fdw('--fdw');
  expect(only.stdout).toContain('create server');
  expect(only.stdout).not.toContain('materialized view');
  const views = await fdw('--views');
  expect(views.stdout).not.toContain('create server');
  expect(views.stdout).toContain('materialized view');
  const json = JSON.parse((await fdw('--json')).stdout) as Record<string, unknown>;
  expect(Object.keys(json)).toEqual(['fdw_sql', 'views_sql', 'compound_sql']);
  expect(Object.keys(json['views_sql'] as object)).toEqual([
    'public.customer_a',
    'public.customer_b',
  ]);
});

test.each([
  [['--into-schema', ''], /--into-schema is empty/],
  [['--views-schema', 'x'.repeat(64)], /--views-schema is longer/],
  [['--fetch', 'many'], /--fetch is not a number/],
])('fdw %s is wrong usage, and prints nothing', async (args, message) => {
  expect(await fdw(...args)).toMatchObject({ code: 2, stdout: '' });
  expect((await fdw(...args)).stderr).toMatch(message);
});

test('fdw says what is wrong with the other database', async () => {
  const url = new URL(remote.url);
  url.password = 'wrong';
  const refused = await pgstream('fdw', '--remote', url.href);
  expect(refused).toMatchObject({ code: 4, stdout: '' });
  expect(refused.stderr).not.toContain('wrong');
  expect(await fdw('--schema', 'nosuch')).toMatchObject({ code: 1, stdout: '' });
  expect((await fdw('nosuch')).stderr).toContain('there is no table nosuch');
});

describe.runIf(hasPsql)('with psql', () => {
  test('what fdw prints works, and works again on what is there', async () => {
    await psql((await fdw()).stdout);
    await local.sql.unsafe(`
      create table app (id integer, stripe_id text); insert into app values (7, 'cus_1');
      create view mine as select * from pgstream_remote.customer_a;
      grant select on mine to pg_monitor`);
    expect([
      ...(await local.sql`select app.id, w.id::integer as there, mood::text from app
        join pgstream_remote.customer_a w using (stripe_id) where w.mood = 'it''s'`),
    ]).toEqual([{ id: 7, there: 1, mood: "it's" }]);
    const plan = await local.sql`
      explain verbose select * from pgstream_remote.customer_a where stripe_id = 'cus_1'`;
    expect(JSON.stringify(plan)).toContain("WHERE ((stripe_id = 'cus_1'");

    await remote.sql.unsafe(`insert into customer_b values (3);
      alter table customer_a add column more text; create table customer_c (id integer primary key)`);
    expect(await local.sql`select * from pgstream_views.customer_b`).toHaveLength(1);
    await local.sql`refresh materialized view concurrently pgstream_views.customer_b`;
    expect(await local.sql`select * from pgstream_views.customer_b`).toHaveLength(2);
    await psql((await fdw()).stdout);
    const [row] = await local.sql`select more, has_table_privilege('pg_monitor', 'mine', 'select')
      as granted from pgstream_remote.customer_a, mine, pgstream_views.customer_a v`;
    expect(row).toEqual({ more: null, granted: true });
    expect(await local.sql`select from pgstream_views.customer_c`).toHaveLength(0);
  });

  test('any name can be in it', async () => {
    await psql((await fdw('--schema', 'weird "name"', '--server', `s'1`)).stdout);
    const [found] = await local.sql.unsafe(`select * from pgstream_remote."t'able"`);
    expect(found).toBeUndefined();
  });
});

test('fixtures make the same tables where they are not foreign, with defaults', async () => {
  const pair = await createForeignPair();
  const empty = await createDatabase({ template: false });
  try {
    await pair.remote.unsafe(`
      create type mood as enum ('it''s', 'glad');
      create table customer (pk bigserial primary key, stripe_id text unique not null,
        balance integer, mood mood not null, tags text[] not null, data jsonb not null,
        price numeric(8,2) not null, at timestamptz not null, "the ""ref" uuid not null);
      create table own (id integer primary key, code varchar(3) not null unique);
      create index on own (lower(code))`);
    await pair.importIt();
    await pair.local
      .unsafe(`create table own (id integer primary key, code varchar(3) not null unique);
      create index on own (lower(code))`);
    const run = () => pgstream('fixtures', 'shop.customer', 'own', '--pgurl', pair.localUrl);
    const { stdout, stderr } = await run();
    expect(stderr).toBe('');
    expect((await run()).stdout).toBe(stdout);
    await empty.sql.unsafe(stdout);
    await empty.sql.unsafe(stdout);
    await empty.sql`insert into shop.customer (balance) values (-1)`;
    const [row] =
      await empty.sql`select pk::integer, stripe_id, mood::text, data from shop.customer`;
    expect(row).toEqual({ pk: 1, stripe_id: '', mood: "it's", data: {} });
    await empty.sql`insert into own (code) values ('one')`;
    await expect(empty.sql`insert into own (code) values ('one')`).rejects.toMatchObject({
      code: '23505',
    });
    const missing = await pgstream('fixtures', 'nosuch', '--pgurl', pair.localUrl);
    expect(missing).toMatchObject({ code: 1, stdout: '' });
    expect(missing.stderr).toContain('there is no table nosuch');
  } finally {
    await empty.drop();
    await pair.drop();
  }
});
