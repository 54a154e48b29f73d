import { expect, test } from 'vitest';
import { typeName } from '../../src/event/type-name.js';

test.each([
  ['public', 'mood', 'mood'],
  ['pg_catalog', 'hstore', 'hstore'],
  ['app', 'mood', 'app.mood'],
  ['public', '_mood', 'mood[]'],
  ['app', '_mood', 'app.mood[]'],
  ['Odd one', 'Mood face', '"Odd one"."Mood face"'],
])('a type of schema %s that is called %s is %s', (schema, name, printed) => {
  expect(typeName(schema, name)).toBe(printed);
});
