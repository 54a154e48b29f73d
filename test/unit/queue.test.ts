import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Queue } from '../../src/delivery/queue.js';
import { eventually } from '../helpers/poll.js';

test('what comes in first goes out first, and the length is right at every step', () => {
  const steps = fc.array(fc.record({ push: fc.nat(3_000), shift: fc.nat(3_000) }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(steps, (script) => {
      const queue = new Queue<number>();
      let pushed = 0;
      let shifted = 0;
      for (const { push, shift } of script) {
        for (let i = 0; i < push; i++) queue.push(pushed++);
        for (let i = 0; i < shift; i++) {
          const item = queue.shift();
          if (item !== (shifted < pushed ? shifted : undefined)) expect.fail(`shifted ${item}`);
          if (item !== undefined) shifted++;
        }
        expect(queue.length).toBe(pushed - shifted);
      }
    }),
  );
});

test('an empty queue gives nothing, and can be filled again', () => {
  const queue = new Queue<string>();
  expect(queue.shift()).toBeUndefined();
  queue.push('a');
  expect(queue.shift()).toBe('a');
  expect(queue.shift()).toBeUndefined();
  queue.push('b');
  expect([queue.length, queue.shift(), queue.length]).toEqual([1, 'b', 0]);
});

test('what has left the queue is not kept in memory by it', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const queue = new Queue<object>();
  const seen: WeakRef<object>[] = [];
  for (let i = 0; i < 100; i++) {
    const item = { i };
    seen.push(new WeakRef(item));
    queue.push(item);
  }
  for (let i = 0; i < 10; i++) queue.shift();
  const gone = () => seen.filter((item) => item.deref() === undefined);
  await eventually(() => {
    collectGarbage();
    expect(gone()).toHaveLength(10);
  });
  expect(queue.length).toBe(90);
});
