import { expect, test } from 'vitest';
import { faultsFor, planFaults, planSpells } from '../soak/plan.js';
import { randomFor } from '../soak/random.js';
import { transactionsOf } from '../soak/transactions.js';

/** All that a seed decides. */
function drawn(seed: number) {
  const spells = planSpells(seed, 'items');
  const transaction = transactionsOf(randomFor(seed, 'writer 1'), 1);
  return {
    faults: planFaults(seed, faultsFor(20), 2_000),
    spells: Array.from({ length: 20 }, () => spells.next().value),
    transactions: Array.from({ length: 20 }, transaction),
  };
}

test('a seed decides what is done, when, and what is written', () => {
  expect(drawn(1)).toEqual(drawn(1));
  expect(drawn(1)).not.toEqual(drawn(2));
});

test('a plan has as many faults of each kind as it is told, and a time for each', () => {
  const faults = planFaults(3, faultsFor(200), 2_000);
  const count = (kind: string) => faults.filter(({ fault }) => fault.kind === kind).length;
  expect(count('kill')).toBe(200);
  expect(count('crash')).toBe(20);
  for (const { afterMs } of faults) {
    expect(afterMs).toBeGreaterThanOrEqual(20);
    expect(afterMs).toBeLessThanOrEqual(2_000);
  }
});
