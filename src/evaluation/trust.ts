/**
 * What may be evaluated by the runner's own login, where there is none without rights: expressions in
 * which nothing can run that others have made or could make later.
 */
import type { Sql } from 'postgres';
import { arrayLiteral } from '../source/array-literal.js';
import type { Program } from './program.js';

const hint = 'set PGSTREAM_EVALUATOR_URL to a login that has no rights';

/** Why a program is not evaluated by the runner's login; undefined where it is. */
export async function refusalOf(sql: Sql, program: Program): Promise<string | undefined> {
  if (program.foreign) return `it calls functions that are not those of Postgres itself: ${hint}`;
  const { types = [] } = program;
  if (types.length === 0) return undefined;
  // A type, or its casts, can be changed by its owner, and by the owner of its schema.
  const [row] = await sql<{ name: string; owner: string }[]>`
    select n.name, o.owner::regrole::text as owner
    from unnest(${arrayLiteral(types)}::text[]) as n(name)
    join pg_catalog.pg_type t on t.oid = pg_catalog.to_regtype(n.name)
    join pg_catalog.pg_namespace s on s.oid = t.typnamespace
    cross join lateral (values (t.typowner), (s.nspowner)) as o(owner)
    where o.owner >= 16384 and not pg_catalog.pg_has_role(o.owner, current_user, 'member')
    limit 1`;
  return row && `type ${row.name} is in the hands of role ${row.owner}: ${hint}`;
}
