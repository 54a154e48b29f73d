import { expect, test } from 'vitest';
import { eventually } from '../helpers/poll.js';

test('a condition is repeated until it answers something truthy, which is returned', async () => {
  let calls = 0;
  expect(await eventually(() => (calls += 1) > 2 && `call ${calls}`)).toBe('call 3');
});

test('an assertion is repeated until it does not throw', async () => {
  let calls = 0;
  await eventually(() => {
    calls += 1;
    expect(calls).toBe(3);
  });
});

test('the deadline passes on the last error', async () => {
  const never = eventually(() => Promise.reject(new Error('not yet')), { timeout: 30 });
  await expect(never).rejects.toThrow('not within 30 ms: not yet');
});

test('a signal ends the wait with its reason', async () => {
  const signal = AbortSignal.abort(new Error('it is over'));
  await expect(eventually(() => false, { signal })).rejects.toThrow('gave up: it is over');
});
