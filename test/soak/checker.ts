/** Compares what an endpoint got with what was committed. Every offence is one sentence. */
import type { Arrival, First } from './endpoint.js';
import type { Truth } from './database.js';
import { selects, type Selection } from './tables.js';

export interface Received {
  readonly name: string;
  /** In the order of first arrivals. */
  readonly firsts: readonly First[];
  readonly arrivals: readonly Arrival[];
}

/** The truth that a subscription selects. */
export const expectedOf = (truth: readonly Truth[], selection: Selection): Truth[] =>
  truth.filter(({ table, action }) => selects(selection, table, action));

export function check(
  { name, firsts, arrivals }: Received,
  subscription: number,
  expected: readonly Truth[],
): string[] {
  const offences = [
    ...firsts
      .filter((first) => first.subscription !== subscription)
      .map(({ id }) => `${id} is of another subscription`),
    ...firsts.filter((first) => !first.accepted).map(({ text }) => `never accepted: ${text}`),
    ...checkRows(firsts, expected),
    ...checkTruncates(firsts, expected),
    ...checkRuns(arrivals),
  ];
  return offences.map((offence) => `${name}: ${offence}`);
}

/** Every row's changes, each exactly once, in their order. */
function checkRows(firsts: readonly First[], expected: readonly Truth[]): string[] {
  const got = byKey(firsts);
  const due = byKey(expected);
  return [...new Set([...due.keys(), ...got.keys()])].flatMap((key) => {
    const [mine = [], theirs = []] = [got.get(key), due.get(key)];
    if (mine.length === theirs.length && mine.every((text, i) => text === theirs[i])) return [];
    const lost = without(theirs, mine).map((text) => `lost: ${text}`);
    const phantoms = without(mine, theirs).map((text) => `never committed: ${text}`);
    if (lost.length + phantoms.length > 0) return [...lost, ...phantoms];
    const at = mine.findIndex((text, i) => text !== theirs[i]);
    return [`out of order: ${mine[at]} arrived before ${theirs[at]}`];
  });
}

function byKey(events: readonly { text: string; keys: readonly string[] }[]) {
  const groups = new Map<string, string[]>();
  for (const { text, keys } of events) {
    // What is of no row, a truncate, makes a group of its own.
    for (const key of keys.length > 0 ? keys : [text]) {
      const found = groups.get(key);
      if (found) found.push(text);
      else groups.set(key, [text]);
    }
  }
  return groups;
}

/** What is in `all` more often than in `some`. */
function without(all: readonly string[], some: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const text of some) counts.set(text, (counts.get(text) ?? 0) + 1);
  return all.filter((text) => {
    const left = counts.get(text) ?? 0;
    counts.set(text, left - 1);
    return left <= 0;
  });
}

/** No version of a row arrives on the wrong side of a truncate. */
function checkTruncates(firsts: readonly First[], expected: readonly Truth[]): string[] {
  const eras = new Map<number, number>();
  let era = 0;
  const isTruncate = ({ text }: { text: string }) => text.startsWith('T ');
  for (const event of expected.filter(({ table }) => table === 'wiped')) {
    if (isTruncate(event)) era++;
    else if (event.seq !== undefined) eras.set(event.seq, era);
  }
  if (era === 0) return [];
  const offences: string[] = [];
  let now = 0;
  for (const event of firsts.filter(({ table }) => table === 'wiped')) {
    if (isTruncate(event)) now++;
    else if (event.seq !== undefined && (eras.get(event.seq) ?? now) !== now) {
      offences.push(`${event.text} arrived after ${now} truncates, not ${eras.get(event.seq)}`);
    }
  }
  return offences;
}

/** Each tenure sends the changes of a row in the order of the log, whether they are repeats or not. */
function checkRuns(arrivals: readonly Arrival[]): string[] {
  const last = new Map<string, First>();
  return arrivals.flatMap(({ first, run, tenure }) =>
    first.keys.flatMap((key) => {
      const place = `${run} ${tenure} ${key}`;
      const before = last.get(place);
      last.set(place, first);
      if (!before || !isBefore(first, before)) return [];
      return [`run ${run} sent ${before.text}, then ${first.text}`];
    }),
  );
}

const isBefore = (one: First, other: First): boolean =>
  one.commitLsn === other.commitLsn ? one.ordinal < other.ordinal : one.commitLsn < other.commitLsn;
