import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isValidAt, nextBeatMs, usualPeriods, vacancyOf } from '../../src/lease/timing.js';

const { validMs, silenceMs, beatMs, flushMs, answerMs } = usualPeriods;

describe('a leader may act', () => {
  const sent = { steady: 10_000, wall: 1_700_000_000_000 };
  const later = (steady: number, wall: number) => ({
    steady: sent.steady + steady,
    wall: sent.wall + wall,
  });

  test.each([
    ['right after a heartbeat', 0, 0, true],
    ['until two seconds after it was sent', 1_999, 1_999, true],
    ['not when they are over', 2_000, 2_000, false],
    ['not when the machine slept, which only the wall clock tells', 100, 60_000, false],
    ['not when the wall clock was set back meanwhile', 2_500, -60_000, false],
    ['also when the wall clock was set back a moment ago', 100, -60_000, true],
  ])('%s', (_, steady, wall, expected) => {
    expect(isValidAt(later(steady, wall), sent, validMs)).toBe(expected);
  });
});

describe('the next heartbeat', () => {
  test.each([
    ['comes after half a second', 100, 0, false, 400],
    ['comes sooner while a record waits for the disk', 100, 0, true, 100],
    ['is late already', 700, 0, false, 0],
    ['is sent again at once when it failed', 0, 1, false, 0],
    ['keeps a pause when that failed as well', 0, 2, false, flushMs],
  ])('%s', (_, sinceSentMs, failures, awaitsFlush, expected) => {
    expect(nextBeatMs(usualPeriods, { sinceSentMs, failures, awaitsFlush })).toBe(expected);
  });

  test('has time to be sent twice before the lease ends by itself', () => {
    expect(beatMs + answerMs).toBeLessThanOrEqual(validMs);
  });
});

describe('a lease may be taken', () => {
  const held = { silentMs: 0, unchangedMs: 0, holderIsDead: false };

  test.each([
    ['not while its holder is heard', held, undefined],
    ['not after a short silence', { ...held, silentMs: 3_000, unchangedMs: 3_000 }, undefined],
    ['after three seconds of silence', { ...held, silentMs: 3_001 }, 'silent'],
    [
      'when a heartbeat from the future has not changed for as long',
      { ...held, silentMs: -3_600_000, unchangedMs: 3_001 },
      'silent',
    ],
    ['at once when it was released', { ...held, silentMs: undefined }, 'released'],
    ['at once when its holder has ended', { ...held, holderIsDead: true }, 'dead'],
  ] as const)('%s', (_, sighting, expected) => {
    expect(vacancyOf(sighting, silenceMs)).toBe(expected);
  });

  test('for silence only when its holder has stopped to act', () => {
    const delay = fc.nat(10_000);
    fc.assert(
      // A heartbeat is sent, written `under way` later, and looked at another while later.
      fc.property(delay, delay, (underWay, silentMs) => {
        const sighting = { silentMs, unchangedMs: 0, holderIsDead: false };
        if (!vacancyOf(sighting, silenceMs)) return;
        const now = { steady: underWay + silentMs, wall: underWay + silentMs };
        expect(isValidAt(now, { steady: 0, wall: 0 }, validMs)).toBe(false);
      }),
    );
  });
});
