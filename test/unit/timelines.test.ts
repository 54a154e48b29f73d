import { expect, test } from 'vitest';
import { parseLsn } from '../../src/replication/lsn.js';
import { forkBefore, parseHistory, timelineAt } from '../../src/replication/timelines.js';

const history = `# comments and empty lines are passed over

1\t0/3000148\tno recovery target specified
2\t0/5000000\tbefore 2025-01-01 00:00:00+00
3\t1/A0\tat restore point "x"
`;

test.each([
  ['0/0', 1],
  ['0/3000147', 1],
  ['0/3000148', 2],
  ['0/4FFFFFF', 2],
  ['0/5000000', 3],
  ['1/9F', 3],
  ['1/A0', 4],
  ['FF/0', 4],
])('%s is of timeline %i', (position, timeline) => {
  const timelines = { system: 1n, current: 4, past: parseHistory(history) };
  expect(timelineAt(timelines, parseLsn(position))).toBe(timeline);
});

test('a timeline that ended where it began has no position', () => {
  const past = parseHistory('1\t0/50\tpromoted\n2\t0/50\tpromoted again\n');
  expect(timelineAt({ system: 1n, current: 3, past }, 0x50n)).toBe(3);
  expect(timelineAt({ system: 1n, current: 3, past }, 0x4fn)).toBe(1);
});

test('the first timeline has all positions', () => {
  expect(timelineAt({ system: 1n, current: 1, past: [] }, 0n)).toBe(1);
});

test('the text of a reason may be anything, also missing', () => {
  expect(parseHistory('7\t0/AB\r\n8 0/AC  3\t0/1 is no entry')).toEqual([
    { timeline: 7, end: 0xabn },
    { timeline: 8, end: 0xacn },
  ]);
});

test('what is no history is refused', () => {
  expect(() => parseHistory('one\t0/1\t')).toThrow(RangeError);
});

test('a server that left the log before what was read is told from one that went on with it', () => {
  const before = { system: 1n, current: 2, past: [{ timeline: 1, end: 100n }] };
  const after = (end: bigint) => ({
    system: 1n,
    current: 3,
    past: [...before.past, { timeline: 2, end }],
  });
  expect(forkBefore(before, before, 500n)).toBeUndefined();
  expect(forkBefore(before, after(500n), 500n)).toBeUndefined();
  expect(forkBefore(before, after(400n), 500n)).toBe(400n);
  expect(forkBefore(before, { system: 1n, current: 4, past: before.past }, 500n)).toBe(0n);
});
