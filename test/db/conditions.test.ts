import { afterAll, beforeAll, expect, test } from 'vitest';
import { conditionOf, knownConditions } from '../../src/settings/sqlstate.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
beforeAll(async () => void (database = await createDatabase({ template: false })));
afterAll(() => database.drop());

test('conditions go by the names that Postgres has for them', async () => {
  const { sql } = database;
  await sql.unsafe(`
    create function state_of(condition text, out state text) language plpgsql as $$
    begin
      execute format('do $do$ begin raise %I; end $do$', condition);
    exception when others or assert_failure or query_canceled then
      state := sqlstate;
    end $$`);
  const given = knownConditions.map((code) => [
    code,
    conditionOf(code)
      .replace(/ \(.*\)$/, '')
      .replaceAll(' ', '_'),
  ]);
  const rows = await sql<{ code: string; state: string }[]>`
    select key as code, state_of(value) as state
    from jsonb_each_text(${sql.json(Object.fromEntries(given))})`;
  expect(rows.length).toBeGreaterThan(100);
  for (const { code, state } of rows) expect(state).toBe(code);
});
