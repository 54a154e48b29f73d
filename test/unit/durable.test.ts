import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DurableRecord } from '../../src/lease/durable.js';

test('a position counts when a later heartbeat finds its record flushed', () => {
  const record = new DurableRecord(10n);
  record.answered({ written: 20n, inserted: 100n, flushed: 100n });
  expect(record).toMatchObject({ confirmed: 10n, awaitsFlush: true });
  record.answered({ written: 20n, inserted: 110n, flushed: 100n });
  expect(record).toMatchObject({ confirmed: 10n, awaitsFlush: true });
  record.answered({ written: 30n, inserted: 120n, flushed: 110n });
  expect(record).toMatchObject({ confirmed: 20n, awaitsFlush: true });
  record.answered({ written: 30n, inserted: 130n, flushed: 130n });
  expect(record).toMatchObject({ confirmed: 30n, awaitsFlush: false });
});

test('what was written before a heartbeat failed has to be written again', () => {
  const record = new DurableRecord(10n);
  record.answered({ written: 20n, inserted: 100n, flushed: 100n });
  record.interrupted();
  record.answered({ written: 20n, inserted: 200n, flushed: 200n });
  expect(record.confirmed).toBe(10n);
  record.answered({ written: 20n, inserted: 210n, flushed: 210n });
  expect(record.confirmed).toBe(20n);
});

test('a position that was written and flushed in one counts at once, an older one never', () => {
  const record = new DurableRecord(10n);
  record.flushed(20n);
  record.flushed(15n);
  record.answered({ written: 0n, inserted: 100n, flushed: 100n });
  expect(record).toMatchObject({ confirmed: 20n, awaitsFlush: false });
});

/** A server that commits heartbeats without flushing, flushes now and then, and may crash. */
test('a crash at any moment leaves what is confirmed on record', () => {
  const step = fc.oneof(
    fc.record({ tag: fc.constant('beat' as const), done: fc.bigInt({ min: 0n, max: 9n }) }),
    fc.record({ tag: fc.constant('flush' as const), upTo: fc.bigInt({ min: 0n, max: 3n }) }),
    fc.record({ tag: fc.constant('crash' as const), upTo: fc.constant(0n) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const record = new DurableRecord(0n);
      let [inserted, flushed, progress] = [0n, 0n, 0n];
      let commits: { end: bigint; written: bigint }[] = [];
      for (const each of steps) {
        if (each.tag === 'beat') {
          progress += each.done;
          record.answered({ written: progress, inserted, flushed });
          inserted += 2n;
          commits.push({ end: inserted, written: progress });
        } else if (each.tag === 'flush') {
          flushed = flushed + each.upTo < inserted ? flushed + each.upTo : inserted;
        } else {
          commits = commits.filter(({ end }) => end <= flushed);
          inserted = flushed;
          record.interrupted();
        }
        const onDisk = commits.filter(({ end }) => end <= flushed).at(-1)?.written ?? 0n;
        expect(record.confirmed).toBeLessThanOrEqual(onDisk);
      }
    }),
  );
});
