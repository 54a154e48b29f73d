import type { Sql } from 'postgres';
import { expect, test } from 'vitest';
import { followReplays } from '../../src/tenure/replays.js';

/** A table of requests, of which only the two statements of the follower are known. */
function requests() {
  const rows: { id: string; subscription: string }[] = [];
  const sql = ((text: TemplateStringsArray, ids: string[] = []) => {
    if (text[0]!.includes('delete')) {
      for (const id of ids) {
        rows.splice(
          rows.findIndex((row) => row.id === id),
          1,
        );
      }
    }
    return Promise.resolve([...rows]);
  }) as unknown as Sql;
  return { rows, sql };
}

test('each request is acted on once by everybody who follows, in whichever order it commits', async () => {
  const { rows, sql } = requests();
  let now = 0;
  const replayed: string[] = [];
  const follow = (name: string) =>
    followReplays(sql, { replay: (id) => void replayed.push(`${name}${id}`) }, () => now);
  const [one, other] = [follow('a'), follow('b')];
  rows.push({ id: '2', subscription: '7' }, { id: '3', subscription: '7' });
  for (let i = 0; i < 2; i++) for (const look of [one, other]) await look();
  expect(replayed).toEqual(['a7', 'b7']);
  rows.push({ id: '1', subscription: '8' });
  for (const look of [one, other]) await look();
  expect(replayed).toEqual(['a7', 'b7', 'a8', 'b8']);
  now = 59_000;
  await one();
  expect(rows).toHaveLength(3);
  now = 60_000;
  for (const look of [one, other, one]) await look();
  expect(rows).toEqual([]);
  expect(replayed).toHaveLength(4);
});
