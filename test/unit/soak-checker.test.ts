import { expect, test } from 'vitest';
import { audit, type LoggedChanges } from '../soak/audit.js';
import { check } from '../soak/checker.js';
import type { Truth } from '../soak/database.js';
import type { First } from '../soak/endpoint.js';
import { tell, type ToldChange } from '../soak/event.js';
import type { Action } from '../soak/tables.js';

const selection = { tables: ['item', 'wiped'], actions: ['I', 'U', 'D', 'T'] as const };

const changes: (ToldChange & { action: Action })[] = [
  { table: 'item', action: 'I', id: 1, seq: 1 },
  { table: 'item', action: 'U', oldId: 1, id: 1, seq: 2 },
  { table: 'item', action: 'U', oldId: 1, id: 2, seq: 3 },
  { table: 'item', action: 'D', oldId: 2, seq: 4 },
  { table: 'wiped', action: 'I', id: 1, seq: 5 },
  { table: 'wiped', action: 'T' },
  { table: 'wiped', action: 'I', id: 2, seq: 6 },
];
const truth: Truth[] = changes.map((change) => ({ action: change.action, ...tell(change) }));
const firsts: First[] = truth.map((event, i) => ({
  ...event,
  id: `evt_1_a_${i + 1}_7`,
  sha256: '',
  commitLsn: 10n,
  ordinal: i + 1,
  subscription: 7,
  accepted: true,
}));
const log: LoggedChanges = new Map(truth.map((event, i) => [`a/${i + 1}`, event]));

/** What is wrong with these arrivals, each of a first one, in this order. */
function offences(arrived: First[], run = () => 1): string[] {
  const arrivals = arrived.map((first) => ({ first, run: run(), tenure: 1 }));
  const received = { name: 'e', firsts: [...new Set(arrived)], arrivals };
  return [...check(received, 7, truth), ...audit('e', received.firsts, selection, log)];
}

const swapped = (i: number, j: number) => {
  const copy = [...firsts];
  [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  return copy;
};

test('what arrives once and in order is no offence', () => {
  expect(offences(firsts)).toEqual([]);
});

test('a repeat by a later run is no offence, by the same run it is', () => {
  let run = 1;
  expect(offences([...firsts.slice(0, 2), ...firsts], () => (run++ > 2 ? 2 : 1))).toEqual([]);
  expect(offences([...firsts.slice(0, 2), ...firsts])).toEqual([
    'e: run 1 sent U item 1 1 2, then I item 1 1',
  ]);
});

test('rows of which the order does not matter may change places', () => {
  expect(offences([firsts[4]!, ...firsts.slice(0, 4), ...firsts.slice(5)])).toEqual([]);
});

test('what is missing is lost, and the log has it', () => {
  expect(offences(firsts.slice(0, 3).concat(firsts.slice(4)))).toEqual([
    'e: lost: D item 2',
    'e: at a/4 the log has D item 2, received was undefined',
  ]);
});

test('what was tried and never accepted is an offence', () => {
  expect(offences([{ ...firsts[0]!, accepted: false }, ...firsts.slice(1)])).toEqual([
    'e: never accepted: I item 1 1',
  ]);
});

test('what was never committed is an offence', () => {
  const phantom = { ...firsts[0]!, ...tell({ table: 'item', action: 'I', id: 9, seq: 9 }) };
  expect(offences([...firsts, { ...phantom, ordinal: 8 }])).toEqual([
    'e: never committed: I item 9 9',
    'e: at a/8 the log has no I item 9 9',
  ]);
});

test('one change under two ids is an offence', () => {
  expect(offences([...firsts, { ...firsts[6]!, ordinal: 8 }])).toEqual([
    'e: never committed: I wiped 2 6',
    'e: at a/8 the log has no I wiped 2 6',
  ]);
});

test('changes of a row in another order are an offence, also across a change of its key', () => {
  expect(offences(swapped(0, 1))).toContain(
    'e: out of order: U item 1 1 2 arrived before I item 1 1',
  );
  expect(offences(swapped(2, 3))).toContain(
    'e: out of order: D item 2 arrived before U item 1 2 3',
  );
});

test('a row on the wrong side of a truncate is an offence', () => {
  expect(offences(swapped(4, 5))).toEqual(['e: I wiped 1 5 arrived after 1 truncates, not 0']);
  expect(offences(swapped(5, 6))).toEqual(['e: I wiped 2 6 arrived after 0 truncates, not 1']);
});

test('an event of another subscription is an offence', () => {
  expect(offences([{ ...firsts[0]!, subscription: 8 }, ...firsts.slice(1)])).toEqual([
    'e: evt_1_a_1_7 is of another subscription',
  ]);
});
