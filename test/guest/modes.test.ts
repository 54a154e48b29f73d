import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { named } from './case.js';
import { alterations } from './cases/alterations.js';
import { indexes } from './cases/indexes.js';
import { partitions } from './cases/partitions.js';
import { tables } from './cases/tables.js';
import { createPair, type Pair } from './pair.js';
import { inPart, part } from './part.js';
import { playBoth } from './play.js';

/** Cases in which a table loses what its updates are published by. */
const identities = [alterations, partitions, indexes, tables]
  .flatMap(named)
  .filter(({ name }) => /\b(identity|identities|keys?)\b/.test(name));

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
  await pair.guest.sql`select pgstream.disable_ddl_capture()`;
});
afterAll(() => pair.drop());

describe(`no update fails where changes of schemas are not followed (${part})`, () => {
  for (const played of inPart(identities)) {
    test(played.name, async (context) => {
      const { alone, together } = await playBoth(pair, played, context);
      expect(together.said).toEqual(alone.said);
      expect(together.left).toEqual(alone.left);
    });
  }
});
