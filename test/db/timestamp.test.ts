import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatTimestamp } from '../../src/replication/timestamp.js';
import { createDatabase, type TestDatabase } from '../helpers/database.js';

const day = 86_400_000_000n;
const earliest = -730_119n * day; // 0001-01-01
const latest = 2_921_940n * day - 1n; // 9999-12-31 23:59:59.999999

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase({ template: false });
});
afterAll(() => database.drop());

/** What Postgres prints for microseconds since 2000, by cast and by `to_char`. */
function printed(microseconds: readonly bigint[]) {
  // Days and the rest apart: an interval is multiplied by a float.
  return database.sql.begin(async (sql) => {
    await sql`set local timezone = 'UTC'`;
    await sql`set local datestyle = 'ISO'`;
    return sql<{ cast: string; padded: string }[]>`
      select moment::text as cast, to_char(moment, 'YYYY-MM-DD HH24:MI:SS.US') as padded
      from unnest(${microseconds.map(String)}::text[]) with ordinality as n(count, place),
        lateral (select '2000-01-01 00:00:00+00'::timestamptz
          + floor(count::numeric / 86400000000)::integer * interval '1 day'
          + (count::numeric - floor(count::numeric / 86400000000) * 86400000000)::bigint
            * interval '1 microsecond' as moment) as m
      order by place`;
  });
}

describe('a time is printed as Postgres prints it', () => {
  test('at random, from the year 1 to 9999', async () => {
    const moments = fc.array(fc.bigInt({ min: earliest, max: latest }), {
      minLength: 500,
      maxLength: 500,
    });
    await fc.assert(
      fc.asyncProperty(moments, async (microseconds) => {
        const rows = await printed(microseconds);
        expect(microseconds.map(formatTimestamp)).toEqual(rows.map((row) => row.cast));
        expect(
          microseconds.map((one) => {
            const [seconds, fraction = ''] = formatTimestamp(one).slice(0, -3).split('.');
            return `${seconds}.${fraction.padEnd(6, '0')}`;
          }),
        ).toEqual(rows.map((row) => row.padded));
      }),
      { numRuns: 20 },
    );
  });

  test('at the edges of seconds, days and years, and at both ends', async () => {
    const edges = [0n, 1n, 59n, 365n, 366n, -1n, -365n, -10_957n, 9_131n, 14_245n].flatMap((days) =>
      [-1_000_000n, -1n, 0n, 1n, 10n, 100_000n, 999_999n].map((offset) => days * day + offset),
    );
    const microseconds = [earliest, earliest + 1n, ...edges, latest - 1n, latest];
    const rows = await printed(microseconds);
    expect(microseconds.map(formatTimestamp)).toEqual(rows.map((row) => row.cast));
  });
});
