import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { installSchema, withClient } from '../../src/install/schema.js';
import { resolveConnection } from '../../src/settings/connection.js';
import { attempts, harmless, trapsOf } from '../helpers/expression-attempts.js';
import { createRoles, type TestRole } from '../helpers/roles.js';

let sql: postgres.Sql;
let url: string;
let mallory: TestRole;
let operator: TestRole;

beforeEach(async () => {
  const { database, roles } = await createRoles({ mallory: '', operator: '' });
  ({ sql, url } = database);
  ({ mallory, operator } = roles);
  await sql.unsafe(trapsOf(mallory.name));
  await sql.unsafe(`
    select pgstream.create_publications();
    select pgstream.grant_subscriber('${mallory.name}');
    select pgstream.grant_operator('${operator.name}')`);
});

/** How often code of the subscriber has run with other rights than its own. */
async function ranAsAnother(): Promise<number> {
  const [row] = await sql<{ ran: number }[]>`
    select (case when is_called then last_value else 0 end)::integer as ran from ran_as_another`;
  return row!.ran;
}

/** Enough of them where the door is the same function. */
const third = attempts.filter((_, i) => i % 3 === 0);

const table = { schema_name: 'public', table_name: 'watched' };
let urls = 0;
const insert = (by: postgres.ISql, row: Record<string, string>) =>
  by`insert into pgstream.webhook_subscriptions ${by({
    url: `https://example.com/${urls++}`,
    ...table,
    ...row,
  })}`;

/** What becomes of each attempt: undefined where it was taken, else its error. */
async function tryEach(
  door: (attempt: string) => Promise<unknown>,
  some: readonly string[] = attempts,
) {
  const answers = new Map<string, postgres.PostgresError | undefined>();
  for (const attempt of some) {
    try {
      await door(attempt);
      answers.set(attempt, undefined);
    } catch (error) {
      answers.set(attempt, error as postgres.PostgresError);
    }
  }
  return answers;
}

/** Writes filters past every check, as an earlier version may have taken them. */
async function writeUnchecked(filters: readonly string[]): Promise<void> {
  await sql`alter table pgstream.webhook_subscriptions disable trigger user`;
  for (const filter of filters) await insert(sql, { filter, owner: mallory.name });
  await sql`alter table pgstream.webhook_subscriptions enable trigger user`;
  await sql`select pgstream._repair_targets()`;
}

test('the traps go off where they are parsed with their strings', async () => {
  for (const [i, attempt] of attempts.entries()) {
    await sql
      .unsafe(
        `create view probe_${i} as select ${attempt} as x
      from public.watched as new`,
      )
      .catch(() => undefined);
  }
  expect(await ranAsAnother()).toBeGreaterThan(40);
});

describe('none goes off with the rights of another, and each is refused with a hint,', () => {
  test.each(['filter', 'payload'])('where a subscriber writes it as a %s', async (column) => {
    const session = await mallory.sql.reserve();
    await session`create domain pg_temp.trap as text check (theirs.mark(value))`;
    const answers = await tryEach((attempt) =>
      insert(session, {
        [column]: column === 'filter' ? attempt : `jsonb_build_object('a', ${attempt})`,
      }),
    );
    session.release();
    expect(await ranAsAnother()).toBe(0);
    for (const [attempt, error] of answers) {
      expect({ attempt, code: error?.code, hint: error?.hint }).toEqual({
        attempt,
        code: expect.stringMatching(/^(0A|42)/),
        hint: expect.stringMatching(/\w/),
      });
    }
  });

  test('where a superuser writes it, as over HTTP', async () => {
    const answers = await tryEach((filter) => insert(sql, { filter }));
    expect(await ranAsAnother()).toBe(0);
    expect([...answers.values()]).not.toContain(undefined);
  });
});

describe('none goes off with the rights of another', () => {
  test('where the session reads strings in another way', async () => {
    const session = await mallory.sql.reserve();
    await session.unsafe(`
      set standard_conforming_strings = off; set escape_string_warning = off;
      set quote_all_identifiers = on; set transform_null_equals = on; set array_nulls = off`);
    const answers = await tryEach((filter) => insert(session, { filter }));
    expect([...answers.values()]).not.toContain(undefined);
    for (const filter of harmless) await insert(session, { filter });
    session.release();
    expect(await ranAsAnother()).toBe(0);
  });

  test('where a subscription that is there is changed', async () => {
    await insert(mallory.sql, { filter: `new.status = 'a'` });
    await tryEach(
      (attempt) => mallory.sql`update pgstream.webhook_subscriptions set filter = ${attempt}`,
    );
    await tryEach((attempt) => sql`update pgstream.webhook_subscriptions set filter = ${attempt}`);
    expect(await ranAsAnother()).toBe(0);
  });

  test('where the check is called by hand', async () => {
    for (const by of [mallory.sql, operator.sql, sql]) {
      const answers = await tryEach(
        (attempt) => by`select pgstream._compile_program(
          schema_name => 'public', table_name => 'watched', event_types => null,
          filter => ${attempt}, payload => null, owner => ${mallory.name})`,
        third,
      );
      expect([...answers.values()]).not.toContain(undefined);
    }
    expect(await ranAsAnother()).toBe(0);
  });

  test('where it comes from a store in another database', async () => {
    await tryEach(
      (filter) =>
        sql`select * from pgstream.copy_subscriptions(${sql.json([
          { store_id: 1, url: 'https://example.com/', ...table, filter, owner: mallory.name },
        ])})`,
    );
    expect(await ranAsAnother()).toBe(0);
  });

  test('where a name has become another thing since it was looked up', async () => {
    const row = 'status text, tags theirs.trap[], held theirs.pair';
    for (const path of ['pg_catalog, pg_temp', 'pg_catalog, public, theirs, pg_temp']) {
      await tryEach(
        (attempt) => sql`select pgstream._analyse_expression(${attempt}, ${row}, ${path})`,
      );
    }
    await tryEach((attempt) => sql`select pgstream._check_strings(${attempt}, ${row})`);
    await tryEach((attempt) => sql`select pgstream._check_strings(${attempt}, 'status text')`);
    expect(await ranAsAnother()).toBe(0);
  });

  test('where an upgrade finds it, and the subscription is invalid with the reason', async () => {
    await writeUnchecked([...attempts, ...harmless]);
    await withClient(resolveConnection(url, {}), (client) => installSchema(client));
    expect(await ranAsAnother()).toBe(0);
    const rows = await sql<{ filter: string; invalid_reason: string | null }[]>`
      select filter, invalid_reason from pgstream.webhook_subscriptions order by id`;
    expect(rows.filter(({ invalid_reason }) => invalid_reason === null)).toEqual(
      harmless.map((filter) => ({ filter, invalid_reason: null })),
    );
    for (const { invalid_reason } of rows.slice(0, attempts.length)) {
      expect(invalid_reason).toMatch(/^bad filter for /);
    }
  });

  test('where somebody else changes the table, or reconciles', async () => {
    await writeUnchecked(attempts);
    await sql`alter table watched add column more theirs.mood default 'a'`;
    await sql`select pgstream.reconcile()`;
    await sql`drop table watched`;
    expect(await ranAsAnother()).toBe(0);
  });

  test('where a type that was harmless has been replaced', async () => {
    await insert(mallory.sql, { filter: `new.feeling in ('a', 'b') and new.status like '(%,1)'` });
    await insert(mallory.sql, { filter: `'a'::theirs.mood = new.feeling` });
    await mallory.sql.unsafe(`
      alter type theirs.mood rename to gone;
      create type theirs.mood as (a theirs.trap)`);
    await sql`alter table watched add column more integer`;
    await sql`alter table watched alter column status type varchar(10)`;
    await sql`select pgstream._recheck_programs()`;
    await sql`update pgstream.webhook_subscriptions set filter = filter, enabled = false`.catch(
      () => undefined,
    );
    expect(await ranAsAnother()).toBe(0);
  });

  test('where it is previewed by another', async () => {
    await writeUnchecked([...attempts.filter((_, i) => i % 6 === 0), ...harmless]);
    const ids = await sql<{ id: string }[]>`select id from pgstream.webhook_subscriptions`;
    for (const by of [sql, operator.sql]) {
      for (const { id } of ids) {
        await by`select * from pgstream.preview(subscription => ${id}::bigint,
          new => '{"id": 1, "status": "(x,1)", "feeling": "a"}')`;
      }
    }
    expect(await ranAsAnother()).toBe(0);
  });
});
