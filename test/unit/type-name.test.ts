import { describe, expect, test } from 'vitest';
import { eventTypeName, typeName } from '../../src/event/type-name.js';

test.each([
  ['public', 'mood', 'public.mood'],
  ['pg_catalog', 'hstore', 'hstore'],
  ['app', 'mood', 'app.mood'],
  ['public', '_mood', 'public.mood[]'],
  ['app', '_mood', 'app.mood[]'],
  ['app', 'user', 'app."user"'],
  ['Odd "one"', 'Mood face', '"Odd ""one"""."Mood face"'],
])('a type of schema %s that is called %s is %s', (schema, name, printed) => {
  expect(typeName(schema, name)).toBe(printed);
});

describe('in events', () => {
  const catalogTypes = new Set(['path', 'char', 'int4']);

  test.each([
    ['integer', 'integer'],
    ['app.mood', 'app.mood'],
    ['public.mood', 'mood'],
    ['public.mood[]', 'mood[]'],
    ['public.geometry(Point,4326)', 'geometry(Point,4326)'],
    ['public."Mood ""face"[]', '"Mood ""face"[]'],
    ['publication.mood', 'publication.mood'],
    ['public."integer"', '"integer"'],
  ])('the type %s is %s', (name, printed) => {
    expect(eventTypeName(name, catalogTypes)).toBe(printed);
  });

  test.each(['public.path', 'public.path[]', 'public."char"', 'public.int4(3)'])(
    'the type %s stays qualified, since pg_catalog has one of that name',
    (name) => {
      expect(eventTypeName(name, catalogTypes)).toBe(name);
    },
  );
});
