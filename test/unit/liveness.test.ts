import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nextFeedback } from '../../src/replication/liveness.js';

/** The server's default wal_sender_timeout, and half of it, when it asks for a sign of life. */
const serverTimeoutMs = 60_000;

describe('feedback', () => {
  test.each([
    ['is not sent when there is nothing to say', 0, 999, false, 'wait'],
    ['is sent at once when more is confirmed', 0, 0, true, 'send'],
    ['is repeated after a while', 0, 10_000, false, 'send'],
    ['asks a quiet server for an answer', 15_000, 0, false, 'ask'],
    ['asks also when there is news', 15_000, 0, true, 'ask'],
    ['gives a silent server up', 30_000, 0, true, 'give-up'],
  ] as const)('%s', (_, silentMs, sinceSentMs, news, step) => {
    expect(nextFeedback({ silentMs, sinceSentMs, news })).toBe(step);
  });
});

const state = fc.record({
  silentMs: fc.nat(2 * serverTimeoutMs),
  sinceSentMs: fc.nat(2 * serverTimeoutMs),
  news: fc.boolean(),
});

test('the server never waits longer than half its timeout for a word of ours', () => {
  fc.assert(
    fc.property(state, (now) => {
      fc.pre(now.sinceSentMs >= serverTimeoutMs / 2);
      expect(nextFeedback(now)).not.toBe('wait');
    }),
  );
});

test('a server is asked before it is given up, and not given up while it answers', () => {
  let asked = false;
  for (let silentMs = 0; ; silentMs += 1_000) {
    const step = nextFeedback({ silentMs, sinceSentMs: 1_000, news: false });
    if (step === 'give-up') break;
    asked ||= step === 'ask';
  }
  expect(asked).toBe(true);
  fc.assert(
    fc.property(state, (now) => {
      expect(nextFeedback({ ...now, silentMs: 1_000 })).not.toBe('give-up');
    }),
  );
});
