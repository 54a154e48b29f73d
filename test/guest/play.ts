import type { TestContext } from 'vitest';
import type { TestDatabase } from '../helpers/database.js';
import { hasTransactions, textOf, type NamedCase, type Step } from './case.js';
import { catalogue } from './catalogue.js';
import { locksOf, type Lock, type Names } from './locks.js';
import { clean, subscribe, takeMishaps, type Pair } from './pair.js';
import { openSession, type Session } from './session.js';

/** What a case does in one database. */
interface Course {
  /** Each statement, and all that the server said to it. */
  readonly said: string[];
  /** What is there afterwards. */
  readonly left: string[];
  /** What is held after each statement. */
  readonly locks: (readonly [statement: string, locks: Lock[]])[];
  /** What we could not follow. */
  readonly mishaps: string[];
}

interface Manner {
  /** In one transaction, with a savepoint before each statement, where the case has none itself. */
  readonly inOne?: boolean;
  /** What is held is of interest, too. */
  readonly withLocks?: boolean;
}

/** Plays a case in both databases; skips the test where the server lacks what it needs. */
export async function playBoth(
  { without, guest, version, extensions }: Pair,
  played: NamedCase,
  context: TestContext,
  manner: Manner = {},
): Promise<{ alone: Course; together: Course }> {
  const { from = 0, needs = [], filters, events } = played;
  context.skip(version < from, `PostgreSQL ${version} does not know this`);
  const missing = needs.filter((extension) => !extensions.has(extension));
  context.skip(missing.length > 0, `this server lacks ${missing.join(', ')}`);

  const alone = await play(without, played, manner, async () => undefined);
  await takeMishaps(guest);
  const together = await play(guest, played, manner, () => subscribe(guest, filters, events));
  const mishaps = await takeMishaps(guest);
  await subscribe(guest);
  return { alone, together: { ...together, mishaps } };
}

async function play(
  database: TestDatabase,
  { given, ...played }: NamedCase,
  { inOne = false, withLocks = false }: Manner,
  whenGiven: () => Promise<void>,
): Promise<Course> {
  if (given !== undefined) await database.sql.unsafe(`set local search_path = app; ${given}`);
  await whenGiven();

  const said: string[] = [];
  const locks: Course['locks'] = [];
  const names: Names = new Map();
  const sessions = new Map<string | undefined, Session>();
  const sessionOf = async (role: string | undefined): Promise<Session> => {
    const session = sessions.get(role) ?? (await openSession(database.url, role));
    sessions.set(role, session);
    return session;
  };
  const wrapped = inOne && !hasTransactions(played);
  const main = await sessionOf(undefined);
  const silently = async (...statements: string[]): Promise<void> => {
    if (wrapped) for (const statement of statements) await main.run(statement);
  };

  try {
    await silently('begin');
    for (const step of played.steps) {
      const session = await sessionOf(roleOf(step));
      await silently('savepoint guest');
      said.push(`> ${textOf(step)}`, ...(await session.run(step)));
      if (session.status === 'E') await silently('rollback to guest');
      if (withLocks) {
        const held = await locksOf(session, database.sql, names, database.name);
        locks.push([textOf(step), held]);
      }
      await silently('release guest');
    }
    if (wrapped) said.push('> commit', ...(await main.run('commit')));
    for (const session of sessions.values()) await session.run('rollback');
    const left = await catalogue(database.sql, database.name);
    return { said, left, locks, mishaps: [] };
  } finally {
    await Promise.all([...sessions.values()].map((session) => session.close()));
    await clean(database);
  }
}

const roleOf = (step: Step) => (typeof step === 'object' && 'by' in step ? step.by : undefined);
