import { describe, expect, test } from 'vitest';
import { createLog } from '../../src/log.js';
import { resolveConnection } from '../../src/settings/connection.js';
import { databaseError } from '../../src/settings/database-error.js';
import { withoutTexts, withoutValues } from '../../src/settings/server-error.js';
import { conditionOf } from '../../src/settings/sqlstate.js';

const mark = 'MARK-4711';
const connection = resolveConnection('postgres://ann@db.example/shop', {});

/** What the server says, with the value of a row wherever it could stand. */
const serverError = (code: string, message: string, more = {}) =>
  Object.assign(new Error(message), {
    severity: 'ERROR',
    code,
    detail: `Key (card)=(${mark}) already exists.`,
    where: `COPY orders, line 1: "${mark}"`,
    parameters: [mark],
    ...more,
  });

const all = (error: unknown): string => {
  const { message, stack } = error as Error;
  return [message, stack, JSON.stringify(error), String((error as Error).cause)].join();
};

describe('of a statement that runs code of others', () => {
  test.each(['22P02', '42883', '42501', '57P01', '28P01', '08006', 'P0001', 'AB123'])(
    'an error %s keeps its SQLSTATE and nothing else',
    (code) => {
      const bare = withoutTexts(serverError(code, `no ${mark}`, { hint: mark, routine: mark }));
      expect(bare).toMatchObject({ code, message: conditionOf(code) });
      expect(all(bare)).not.toContain(mark);
      expect(databaseError(bare, connection).message).not.toContain(mark);
    },
  );
});

describe('of a statement of ours', () => {
  test('a message that quotes a value is not told, nor is a DETAIL that is a row', () => {
    const quoting = withoutValues(serverError('22P02', `invalid input syntax: "${mark}"`));
    expect(quoting).toMatchObject({ message: 'invalid text representation (22P02)' });
    const violating = withoutValues(serverError('23505', 'duplicate key value violates "x"'));
    expect(violating).toMatchObject({ message: 'duplicate key value violates "x"' });
    for (const error of [quoting, violating]) expect(all(error)).not.toContain(mark);
  });

  test('what names tables, and what functions of ours raise, is told', () => {
    const denied = serverError('42501', 'permission denied for table orders', {
      detail: 'Ask for it.',
      hint: 'grant select on orders to ann;',
    });
    expect(databaseError(withoutValues(denied), connection)).toMatchObject({
      code: '42501',
      message: 'permission denied for table orders (Ask for it.)',
      hint: 'grant select on orders to ann;',
    });
    const raised = serverError('22023', 'the url is not a URL', { routine: 'exec_stmt_raise' });
    expect(withoutValues(raised)).toMatchObject({ message: 'the url is not a URL' });
  });
});

test('an error that is not of a server is left alone', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  expect(withoutTexts(refused)).toBe(refused);
  expect(withoutValues(refused)).toBe(refused);
  expect(withoutValues('text')).toBe('text');
});

test('a condition without a name goes by its class, and one without a class as an error', () => {
  expect(conditionOf('22012')).toBe('division by zero (22012)');
  expect(conditionOf('22ABC')).toBe('data exception (22ABC)');
  expect(conditionOf('ZZ999')).toBe('error (ZZ999)');
});

test('the log has nothing of a value, at any level and however the error is given', () => {
  const lines: string[] = [];
  const log = createLog('trace', { write: (line) => lines.push(line) });
  const error = serverError('22P02', `invalid input syntax for type integer: "${mark}"`);
  const wrapped = new Error('cannot store', { cause: error });
  for (const level of ['trace', 'debug', 'info', 'warn', 'error'] as const) {
    log[level]({ subscription: 1, err: error }, 'failed');
    log[level]({ err: error });
    log[level](error);
    log[level](error, 'failed');
    log.child({ slot: 's' })[level]({ err: wrapped }, 'failed');
    log[level]({ err: new AggregateError([error], 'several') }, 'failed');
  }
  expect(lines).toHaveLength(30);
  expect(lines.join('')).not.toContain(mark);
  expect(JSON.parse(lines[0]!)).toMatchObject({
    subscription: 1,
    msg: 'failed',
    err: { code: '22P02', message: 'invalid text representation (22P02)' },
  });
});
