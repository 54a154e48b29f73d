import { loadModule } from 'libpg-query';
import { beforeAll, describe, expect, test } from 'vitest';
import { unqualified } from '../../scripts/unqualified.mjs';
import { Plan } from '../../src/evaluation/plan.js';
import type { Program } from '../../src/evaluation/program.js';
import { statementsFor } from '../../src/evaluation/statement.js';
import { NULL, UNCHANGED, type Relation, type Tuple } from '../../src/replication/pgoutput.js';
import { testSubscription } from '../helpers/subscription.js';

const program = (given: Partial<Program> = {}): Program => ({
  path: 'pg_catalog, pg_temp',
  foreign: false,
  ...given,
});

const column = (row: 'new' | 'old', name: string, type = 'text') => ({ row, name, type });

beforeAll(loadModule);

describe('statements', () => {
  test('ask for all programs of a table at once, with each value sent once', () => {
    const filters = Array.from({ length: 50 }, (_, n) =>
      program({ filter: `new.a = ${n}`, columns: [column('new', 'a', 'integer')] }),
    );
    const [statement, ...rest] = statementsFor(filters, ['new.a']);
    expect(rest).toEqual([]);
    expect(statement!.programs).toEqual([...filters.keys()]);
    expect(statement!.text).toContain('k0 integer');
    expect(statement!.text.match(/k0 /g)).toHaveLength(2);
  });

  test('are several where programs disagree on a type, on whole rows, or on the path', () => {
    const groups = statementsFor(
      [
        program({ columns: [column('new', 'a', 'integer')] }),
        program({ columns: [column('new', 'a', 'bigint')] }),
        program({ columns: [column('new', 'a', 'integer')], rows: ['new'] }),
        program({ path: 'pg_catalog, public, pg_temp', foreign: true }),
        program({ columns: [column('new', 'a', 'integer'), column('old', 'b')] }),
      ],
      ['new.a', 'old.b'],
    );
    expect(groups.map(({ programs }) => programs)).toEqual([[0, 4], [1], [2], [3]]);
  });

  test('hold no more than a hundred programs', () => {
    const many = Array.from({ length: 250 }, () => program({ filter: 'true' }));
    expect(statementsFor(many, []).map(({ programs }) => programs.length)).toEqual([100, 100, 50]);
  });

  test('leave nothing to the path of the expressions but these themselves', () => {
    const columns = [
      column('new', 'a', 'integer'),
      column('old', 'op'),
      column('old', 'j', 'json'),
    ];
    const path = 'pg_catalog, public, pg_temp';
    const programs = [
      program({ path, columns, filter: 'new.a = 1', payload: 'public.shape(new.a)' }),
      program({ path, columns, filter: 'new.a = 2' }),
    ];
    const [statement] = statementsFor(programs, ['new.a', 'old.op', 'old.j']);
    expect(unqualified(statement!.text)).toEqual(['=', '=', '=']);
  });

  test('keep a column that is called op apart from the op of the event', () => {
    const [statement] = statementsFor(
      [program({ filter: `new.op = op`, columns: [column('new', 'op')] })],
      ['new.op'],
    );
    expect(statement!.text).toContain(
      '(select (new.op = op) from (select r.o, r.t) as pgstream_event',
    );
  });

  test('quote names, and read JSON from its text', () => {
    const [statement] = statementsFor(
      [program({ columns: [column('new', 'a"b', 'jsonb')], payload: 'new."a""b"' })],
      ['new.a"b'],
    );
    expect(statement!.text).toContain('r.k0::jsonb as "a""b"');
    expect(statement!.payloads).toEqual([2]);
  });
});

describe('a plan', () => {
  const relation: Relation = {
    tag: 'relation',
    oid: 1,
    schema: 'public',
    name: 'item',
    replicaIdentity: 'd',
    columns: ['id', 'note', 'large'].map((name, i) => ({
      name,
      typeOid: 25,
      typmod: -1,
      identity: i === 0,
    })),
  };
  const tuple = (...values: (string | number)[]): Tuple => {
    const bytes = Buffer.from(values.filter((value) => typeof value === 'string').join(''));
    let at = 0;
    const spans = values.flatMap((value) => {
      if (typeof value === 'number') return [value, value];
      const start = at;
      at += Buffer.byteLength(value);
      return [start, at];
    });
    return { bytes, spans };
  };
  const plan = new Plan(
    relation,
    [
      [column('new', 'note')],
      [column('old', 'id'), column('new', 'large')],
      [column('old', 'note')],
      [column('new', 'gone')],
    ].map((columns, id) => testSubscription({ id, program: program({ columns }) })),
  );
  const obstacles = (captured: ReturnType<Plan['capture']>) => [
    ...(plan.obstacles(captured)?.keys() ?? []),
  ];

  test('takes the values of an insert, and nulls for what was before', () => {
    const captured = plan.capture({ action: 'I', new: tuple('1', 'a "b"\n', NULL) });
    expect(captured.values).toEqual(['"a \\"b\\"\\n"', 'null', 'null', 'null', 'null']);
    expect(obstacles(captured)).toEqual([3]);
  });

  test('takes an old key that did not change from the new row', () => {
    const captured = plan.capture({ action: 'U', new: tuple('1', 'a', 'b') });
    expect(captured.values).toEqual(['"a"', '"1"', '"b"', 'null', 'null']);
    expect(obstacles(captured)).toEqual([2, 3]);
  });

  test('tells who needs a value that an update left out', () => {
    const captured = plan.capture({ action: 'U', new: tuple('1', 'a', UNCHANGED) });
    expect(plan.obstacles(captured)?.get(1)).toContain('replica identity full');
    const full = plan.capture({
      action: 'U',
      new: tuple('1', 'a', UNCHANGED),
      old: tuple('1', 'z', 'large'),
    });
    expect(full.values[2]).toBe('"large"');
  });

  test('asks nothing of the new row of a delete', () => {
    const captured = plan.capture({ action: 'D', old: tuple('1', NULL, NULL) });
    expect(captured.values).toEqual(['null', '"1"', 'null', 'null', 'null']);
    expect(obstacles(captured)).toEqual([2]);
  });
});
