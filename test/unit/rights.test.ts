import { describe, expect, test } from 'vitest';
import { Rights, isFor, type Problem, type Restriction } from '../../src/subscriptions/rights.js';
import { testSubscription } from '../helpers/subscription.js';

const named = testSubscription({ owner: 'alice', schema: 'public', table: 'card' });
const pattern = testSubscription({ owner: 'alice', schema: 'public', table: '*' });

const restriction = (given: Partial<Restriction>): Restriction => ({
  owner: 'alice',
  relation: 1,
  columns: null,
  problem: null,
  reason: 'why',
  remedy: 'grant;',
  ...given,
});
const question = [['alice', [1]]] as const;

/** What is known after these answers, one after the other. */
function after(...answers: (Partial<Restriction> | undefined)[]): Rights {
  const rights = new Rights();
  for (const answer of answers) rights.learn(question, answer ? [restriction(answer)] : []);
  return rights;
}

describe('a delivery', () => {
  test('waits while it is not known what may be read, which is asked for', () => {
    let asked = 0;
    const rights = new Rights(() => asked++);
    expect(rights.judge(named, 1, undefined)).toEqual({ is: 'unknown' });
    expect(asked).toBe(1);
    expect(rights.question).toEqual([['alice', [1]]]);
    rights.learn(rights.question, []);
    expect(rights.judge(named, 1, undefined)).toEqual({ is: 'free' });
    expect(rights.unknown(question)).toEqual([]);
  });

  test('that is of no table is free', () => {
    expect(new Rights().judge(named, undefined, undefined)).toEqual({ is: 'free' });
  });

  test.each([
    ['all', undefined, 'denied'],
    ['what may be read', ['id'], 'free'],
    ['less', [], 'free'],
    ['more', ['id', 'number'], 'denied'],
  ])('that shows %s of a table that may be read in part', (_, columns, is) => {
    expect(after({ columns: ['id'] }).judge(named, 1, columns)).toEqual({ is });
  });

  test.each<[Problem, string, string]>([
    ['role', 'held', 'held'],
    ['gone', 'denied', 'denied'],
    ['schema', 'held', 'denied'],
    ['table', 'held', 'denied'],
    ['row security', 'held', 'denied'],
  ])('of a table with problem "%s" is %s by its name and %s by a pattern', (problem, one, many) => {
    const rights = after({ problem });
    expect(rights.judge(named, 1, ['id'])).toMatchObject({ is: one });
    expect(rights.judge(pattern, 1, ['id'])).toMatchObject({ is: many });
    const right = rights.of('alice', 1)!;
    expect(isFor(right, named)).toBe(true);
    expect(isFor(right, pattern)).toBe(problem === 'role' || problem === 'gone');
  });
});

test('what was last known of a table that is gone stays', () => {
  expect(after(undefined, { problem: 'gone' }).of('alice', 1)).toEqual({ kind: 'all' });
  expect(after({ problem: 'table' }, { problem: 'gone' }).of('alice', 1)).toMatchObject({
    problem: 'table',
  });
});

test('what could be read before a denial is remembered', () => {
  expect(after({ columns: ['id'] }, { problem: 'table' }).before('alice', 1)).toEqual(['id']);
  expect(after(undefined, { problem: 'table' }).before('alice', 1)).toBeUndefined();
  expect(after({ problem: 'table' }).before('alice', 1)).toBeUndefined();
});

test('the epoch changes with a right, and with nothing else', () => {
  const rights = after({ columns: ['id'] });
  const before = rights.epoch;
  rights.learn(question, [restriction({ columns: ['id'], remedy: null })]);
  expect(rights.epoch).toBe(before);
  rights.learn(question, []);
  expect(rights.epoch).toBe(before + 1);
});
