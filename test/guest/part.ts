/**
 * How much of the battery is run: all of it where PGSTREAM_TEST_GUEST is `all`, as `npm run test:guest`
 * has it, else a fifth, another one each day. A number from 0 to 4 asks for that fifth.
 */
const asked = process.env['PGSTREAM_TEST_GUEST'] || String(Math.floor(Date.now() / 86_400_000) % 5);

export const part: string = asked === 'all' ? 'all' : `PGSTREAM_TEST_GUEST=${asked}`;

/** Those of a list whose turn it is. */
export const inPart = <T>(list: readonly T[]): T[] =>
  list.filter((_, index) => asked === 'all' || index % 5 === Number(asked));
