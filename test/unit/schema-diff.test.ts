import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { diffSchemas, formatChange } from '../../src/schema/diff.js';
import {
  nothing,
  wholeOf,
  type ColumnDocument,
  type LoggedDocument,
  type SchemaDocument,
  type TableDocument,
} from '../../src/schema/document.js';

const column = (id: string, given: Partial<ColumnDocument> = {}): ColumnDocument => ({
  pgstream_id: id,
  name: id,
  type: 'integer',
  default: null,
  nullable: true,
  unique: false,
  metadata: null,
  ...given,
});

const table = (id: string, given: Partial<TableDocument> = {}): TableDocument => ({
  oid: `1${id.length}`,
  pgstream_id: id,
  name: id,
  columns: [],
  primary_key_columns: [],
  indexes: [],
  constraints: [],
  foreign_keys: [],
  ...given,
});

const index = (name: string, of: string, columns: string[], unique = false) => ({
  name,
  columns,
  unique,
  definition: `CREATE ${unique ? 'UNIQUE ' : ''}INDEX ${name} ON public.${of} USING btree (${columns.join(', ')})`,
});

const sequence = (oid: string, name: string, increment = '1') => ({
  oid,
  name,
  data_type: 'bigint',
  start_value: '1',
  minimum_value: '1',
  maximum_value: '10',
  increment,
  cycle_option: 'NO',
});

const tables = (...all: TableDocument[]): SchemaDocument => ({ tables: all });

const linesBetween = (before: SchemaDocument, after: SchemaDocument) =>
  diffSchemas('public', before, after).map(formatChange);

describe('a table', () => {
  test('is told with all that it came with, and alone when it goes', () => {
    const whole = table('t', {
      columns: [
        column('id', { nullable: false, identity: 'a' }),
        column('Note', { type: 'text', default: "'x'::text" }),
        column('twice', { default: '(id * 2)', generated: 's' }),
      ],
      primary_key_columns: ['id'],
      indexes: [index('t_pkey', 't', ['id'], true), index('t_u', 't', ['twice'], true)],
      constraints: [
        { name: 't_u', type: 'UNIQUE', definition: 'UNIQUE (twice)' },
        { name: 't_c', type: 'CHECK', definition: 'CHECK ((id > 0))' },
      ],
      foreign_keys: [{ name: 't_f', definition: 'FOREIGN KEY (id) REFERENCES public.u(id)' }],
    });
    expect(linesBetween(nothing, tables(whole))).toEqual([
      '+ table public.t',
      '+ column public.t.id integer not null generated always as identity',
      `+ column public.t."Note" text default 'x'::text`,
      '+ column public.t.twice integer generated always as ((id * 2)) stored',
      '+ primary key public.t t_pkey (id)',
      '+ constraint public.t.t_u UNIQUE (twice)',
      '+ constraint public.t.t_c CHECK ((id > 0))',
      '+ foreign key public.t.t_f (id) REFERENCES public.u(id)',
    ]);
    expect(linesBetween(tables(whole), nothing)).toEqual(['- table public.t']);
  });

  test('that takes the name of a dropped one is another one', () => {
    const columns = [column('n')];
    expect(
      linesBetween(
        tables(table('one', { name: 't', columns })),
        tables(table('two', { name: 't', columns })),
      ),
    ).toEqual(['- table public.t', '+ table public.t', '+ column public.t.n integer']);
  });

  test('whose column takes the name of a dropped one has another column', () => {
    expect(
      linesBetween(
        tables(table('t', { columns: [column('1', { name: 'n' })] })),
        tables(table('t', { columns: [column('2', { name: 'n', type: 'text' })] })),
      ),
    ).toEqual(['- column public.t.n', '+ column public.t.n text']);
  });

  test('and another can swap their names', () => {
    expect(
      linesBetween(
        tables(table('1', { name: 'a' }), table('2', { name: 'b' })),
        tables(table('2', { name: 'a' }), table('1', { name: 'b' })),
      ),
    ).toEqual(['~ table public.a renamed to b', '~ table public.b renamed to a']);
  });

  test('tells all that has changed of a column in one line', () => {
    const before = column('1', { name: 'n', nullable: false, default: '0', metadata: 'old' });
    const after = column('1', { name: 'm', type: 'bigint', metadata: `it's` });
    expect(
      linesBetween(
        tables(table('t', { columns: [before] })),
        tables(table('t', { columns: [after] })),
      ),
    ).toEqual([
      `~ column public.t.n renamed to m, integer → bigint, nullable, no default, comment 'it''s'`,
    ]);
  });

  test('tells what makes the values of a column, when that changes', () => {
    const lines = (before: Partial<ColumnDocument>, after: Partial<ColumnDocument>) =>
      linesBetween(
        tables(table('t', { columns: [column('n', before)] })),
        tables(table('t', { columns: [column('n', after)] })),
      );
    const generated = { default: '1', generated: 's' };
    expect(lines(generated, {})).toEqual(['~ column public.t.n not generated']);
    expect(lines({ default: '1' }, {})).toEqual(['~ column public.t.n no default']);
    expect(lines({ default: '1' }, { default: '2' })).toEqual(['~ column public.t.n default 2']);
    expect(lines({ identity: 'a' }, { identity: 'd' })).toEqual([
      '~ column public.t.n generated by default as identity',
    ]);
    expect(lines({ identity: 'a' }, {})).toEqual(['~ column public.t.n no identity']);
  });

  test('tells its keys and indexes as they change', () => {
    const before = table('t', {
      columns: [column('a'), column('b')],
      primary_key_columns: ['a'],
      indexes: [
        index('t_pkey', 't', ['a'], true),
        index('gone', 't', ['b']),
        index('i', 't', ['a']),
      ],
    });
    const after = {
      ...before,
      primary_key_columns: ['a', 'b'],
      indexes: [index('i', 't', ['b']), index('t_pkey', 't', ['a', 'b'], true)],
    };
    expect(linesBetween(tables(before), tables(after))).toEqual([
      '- index public.gone',
      '~ primary key public.t t_pkey (a) → t_pkey (a, b)',
      '~ index public.i on t USING btree (a) → on t USING btree (b)',
    ]);
  });
});

test('what is renamed is told once, wherever its name is written', () => {
  const build = (
    name: string,
    t: string,
    c: string,
    type: string,
    seq: string,
  ): SchemaDocument => ({
    enum_types: [{ oid: '1', name: type, values: ['ok'] }],
    sequences: [sequence('2', seq)],
    tables: [
      table('parent', {
        name,
        columns: [
          column('1', { name: c, default: `nextval('public.${seq}'::regclass)` }),
          column('2', { name: 'state', type: `public.${type}`, default: `'ok'::public.${type}` }),
        ],
        primary_key_columns: [c],
        indexes: [index('t_pkey', t, [c], true), index('i', t, ['state', c])],
        constraints: [{ name: 'c', type: 'CHECK', definition: `CHECK ((${c} > 0))` }],
      }),
      table('child', {
        columns: [column('3', { name: 'old' })],
        inherits: [`public.${t}`],
        foreign_keys: [
          {
            name: 'f',
            definition: `FOREIGN KEY (old) REFERENCES public.${t}(${c}) ON DELETE CASCADE`,
          },
        ],
      }),
    ],
    materialized_views: [
      { oid: '4', name: 'm', definition: ` SELECT 1 FROM public.${t};`, indexes: [] },
    ],
  });
  expect(
    linesBetween(
      build('t', 't', 'old', 'mood', 's'),
      build('New "t"', '"New ""t"""', 'c', 'humor', 'q'),
    ),
  ).toEqual([
    '~ type public.mood renamed to humor',
    '~ sequence public.s renamed to q',
    '~ table public.t renamed to "New ""t"""',
    '~ column public."New ""t""".old renamed to c',
  ]);
});

test('types, sequences and views are told apart by oid, in a copy of the database by name', () => {
  const document = (oid: string, values: string[], of = table('t')): SchemaDocument => ({
    tables: [of],
    enum_types: [{ oid, name: 'mood', values }],
    sequences: [sequence(oid, 's', oid)],
    materialized_views: [{ oid, name: 'm', definition: `SELECT ${oid};`, indexes: [] }],
  });
  expect(linesBetween(document('1', ['a']), document('2', ['a']))).toEqual([
    '- type public.mood',
    `+ type public.mood ('a')`,
    '- sequence public.s',
    '+ sequence public.s bigint start 1 increment 2 from 1 to 10',
    '- materialized view public.m',
    '+ materialized view public.m',
  ]);
  const copied = table('t', { oid: '99' });
  expect(linesBetween(document('1', ['a']), document('2', ['a', 'b'], copied))).toEqual([
    `~ type public.mood ('a') → ('a', 'b')`,
    '~ sequence public.s bigint start 1 increment 1 from 1 to 10 → bigint start 1 increment 2 from 1 to 10',
    '~ materialized view public.m has another definition',
  ]);
});

test('a schema can go and come again', () => {
  const dropped: SchemaDocument = { tables: null, dropped: true };
  expect(linesBetween(tables(table('t')), dropped)).toEqual([
    '- schema public',
    '- table public.t',
  ]);
  expect(linesBetween(dropped, nothing)).toEqual(['+ schema public']);
});

test('a line is one line, and commands no terminal', () => {
  const name = 'a\nb\u001b[31m';
  expect(linesBetween(nothing, tables(table('t', { name })))).toEqual([
    '+ table public."a b\\x1b[31m"',
  ]);
});

test('a partial version changes the one before', () => {
  const before = tables(table('kept'), table('gone'), table('old'));
  const logged: LoggedDocument = {
    partial: true,
    tables: [table('old', { name: 'new' }), table('made')],
    dropped_tables: [{ oid: '1', pgstream_id: 'gone' }],
    sequences: [sequence('7', 's')],
  };
  expect(linesBetween(before, wholeOf(before, logged))).toEqual([
    '+ sequence public.s bigint start 1 increment 1 from 1 to 10',
    '- table public.gone',
    '+ table public.made',
    '~ table public.old renamed to new',
  ]);
  const whole = tables(table('only'));
  expect(wholeOf(before, whole)).toBe(whole);
});

/** Each thing as it stands in one version: absent, or with one of a few names and types. */
const state = fc.option(
  fc.record({ name: fc.constantFrom('a', 'b'), type: fc.constantFrom('x', 'y') }),
);
type State = { name: string; type: string } | null;

/** Two versions of some tables, each with two versions of some columns. */
const history = fc.array(
  fc.tuple(state, state, fc.array(fc.tuple(state, state), { maxLength: 4 })),
  { maxLength: 5 },
);

/** Names are unique, as they are in Postgres; ids are the places in the history. */
const documentOf = (versions: [State, State, [State, State][]][], at: 0 | 1): SchemaDocument =>
  tables(
    ...versions.flatMap(([before, after, columns], t) => {
      const now = [before, after][at];
      if (!now) return [];
      const own = columns.flatMap((states, c) => {
        const is = states[at];
        return is ? [column(`${t}-${c}`, { name: `c${c}${is.name}`, type: is.type })] : [];
      });
      return [table(`id${t}`, { name: `t${t}${now.name}`, columns: own })];
    }),
  );

describe('whatever the versions', () => {
  test('nothing differs between a version and itself', () => {
    fc.assert(
      fc.property(history, (versions) => {
        const [one, same] = [documentOf(versions, 1), documentOf(versions, 1)];
        expect(diffSchemas('public', one, same)).toEqual([]);
      }),
    );
  });

  test('each thing that is added, dropped, renamed or retyped is told once, and nothing else', () => {
    fc.assert(
      fc.property(history, (versions) => {
        const expected = versions.flatMap(([before, after, columns], t): string[] => {
          if (!after) return before ? [`- table public.t${t}${before.name}`] : [];
          const own = columns.flatMap(([was, is], c) => {
            const prefix = `column public.t${t}${after.name}.c${c}`;
            if (!is) return was && before ? [`- ${prefix}${was.name}`] : [];
            if (!was || !before) return [`+ ${prefix}${is.name} ${is.type}`];
            const details = [
              was.name === is.name ? [] : [`renamed to c${c}${is.name}`],
              was.type === is.type ? [] : [`${was.type} → ${is.type}`],
            ].flat();
            return details.length > 0 ? [`~ ${prefix}${was.name} ${details.join(', ')}`] : [];
          });
          if (!before) return [`+ table public.t${t}${after.name}`, ...own];
          const isRenamed = before.name !== after.name;
          const rename = `~ table public.t${t}${before.name} renamed to t${t}${after.name}`;
          return isRenamed ? [rename, ...own] : own;
        });
        const [before, after] = [documentOf(versions, 0), documentOf(versions, 1)];
        const found = linesBetween(before, after);
        expect(found.toSorted()).toEqual(expected.toSorted());
        const shuffled = { tables: after.tables!.toReversed() };
        expect(linesBetween({ tables: before.tables!.toReversed() }, shuffled)).toEqual(found);
      }),
    );
  });
});
