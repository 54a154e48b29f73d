import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { battery } from './battery.js';
import { isAllowed, said } from './locks.js';
import { createPair, type Pair } from './pair.js';
import { inPart, part } from './part.js';
import { playBoth } from './play.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.drop());

describe(`a transaction holds no lock because of us that the contract does not name (${part})`, () => {
  for (const played of inPart(battery)) {
    test(played.name, async (context) => {
      const manner = { inOne: true, withLocks: true };
      const { alone, together } = await playBoth(pair, played, context, manner);
      expect(together.said).toEqual(alone.said);
      expect(together.left).toEqual(alone.left);
      expect(together.mishaps).toEqual([]);

      const usual = alone.locks.map(([, locks]) => new Set(locks.map(said)));
      const more = together.locks.flatMap(([statement, locks], at) =>
        locks
          .filter((lock) => !isAllowed(lock, usual[at]!))
          .map((lock) => `${statement}: ${said(lock)}`),
      );
      expect(more).toEqual([]);
    });
  }
});
