/**
 * What may be evaluated by the runner's own login, where there is none without rights: expressions in
 * which nothing can run that others have made or could make later.
 */
import type { Sql } from 'postgres';
import { arrayLiteral } from '../source/array-literal.js';
import type { Program } from './program.js';

const hint = 'set PGSTREAM_EVALUATOR_URL to a login that has no rights';

/** Why a program is not evaluated by the runner's login; undefined where it is. */
export async function refusalOf(
  sql: Sql,
  { foreign, types }: Program,
): Promise<string | undefined> {
  if (foreign) return `it calls functions that are not those of Postgres itself: ${hint}`;
  const [row] = await sql<{ reason: string | null }[]>`
    select pgstream._untrusted_type(${arrayLiteral(types ?? [])}::text[]) as reason`;
  return row!.reason === null ? undefined : `${row!.reason}: ${hint}`;
}
