import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { battery } from './battery.js';
import { textOf } from './case.js';
import { createPair, type Pair } from './pair.js';
import { inPart, part } from './part.js';
import { playBoth } from './play.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.drop());

describe(`ordinary statements are answered as they are without pgstream (${part})`, () => {
  for (const played of inPart(battery)) {
    test(played.name, async (context) => {
      const { alone, together } = await playBoth(pair, played, context);
      expect(together.said).toEqual(alone.said);
      expect(together.left).toEqual(alone.left);
      expect(together.mishaps).toEqual([]);
    });
  }
});

test('the battery has more than 250 statements, each of its own', () => {
  const statements = new Set(battery.flatMap(({ steps }) => steps.map(textOf)));
  expect(statements.size).toBeGreaterThan(250);
});
