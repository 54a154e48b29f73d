import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

const textOf = async (code: string, constraint: string | null, column: string | null) => {
  const [row] = await database.sql<{ text: string }[]>`
    select pgstream._error_text(${code}, 'says 4711', ${constraint}, ${column}) as text`;
  return row!.text;
};

test.each([
  '08001',
  '0A000',
  '28P01',
  '3F000',
  '40P01',
  '42501',
  '42P01',
  '53100',
  '55P03',
  '57014',
])('the message of %s names objects, and is kept', async (code) => {
  expect(await textOf(code, null, null)).toBe(`${code} says 4711`);
});

test.each([
  ['22P02', null, null, 'a value does not fit what it is used for'],
  ['22003', '', '', 'a value does not fit what it is used for'],
  ['23505', 'item_pkey', '', 'a row violates constraint "item_pkey"'],
  ['23502', '', 'note', 'a row violates a constraint on column "note"'],
  ['44000', null, null, 'a row violates a constraint'],
  ['P0001', null, null, 'code of a trigger, a function or a view refused a row'],
  ['42601', null, null, 'an error whose text may quote a row'],
  ['XX000', null, null, 'an error whose text may quote a row'],
  ['ABCDE', null, null, 'an error whose text may quote a row'],
])('the message of %s may quote a row, and is not kept', async (code, constraint, column, text) => {
  expect(await textOf(code, constraint, column)).toBe(`${code} ${text}`);
});
