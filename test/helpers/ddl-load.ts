/** Sessions that change the same few schemas at the same time, in every way that goes wrong. */
import postgres from 'postgres';

/** What their own statements fail with: something is there already, or is not. */
const ofTheirOwn = new Set(['42P07', '42P01', '42701', '42703', '42P16']);

interface LoadOptions {
  readonly url: string;
  readonly sessions: number;
  /** The number of the first of them; each number has tables of its own. */
  readonly from: number;
  /** Of each session. */
  readonly statements: number;
  readonly seed: number;
}

/**
 * Answers the errors that no statement should have failed with. Each session has tables of its own,
 * so that whatever a statement waits for, or fails with, is ours; but for the short lock of a catalog
 * that grows, which a lock_timeout counts as well: such an error has no function of ours in its context.
 */
export async function runDdlLoad(options: LoadOptions): Promise<string[]> {
  const sessions = Array.from({ length: options.sessions }, (_, i) =>
    runSession(options, options.from + i),
  );
  return (await Promise.all(sessions)).flat();
}

async function runSession(options: LoadOptions, session: number): Promise<string[]> {
  const sql = postgres(options.url, { max: 1, onnotice: () => undefined });
  const random = generator(options.seed * 1_000 + session);
  const pick = <T>(choices: readonly T[]) => choices[Math.floor(random() * choices.length)]!;
  const unexpected: string[] = [];

  const succeeds = (text: string) =>
    sql.unsafe(text).then(
      () => true,
      ({ code, message, where = '' }: postgres.PostgresError) => {
        const isOfCatalogs = code === '55P03' && where === '';
        if (!ofTheirOwn.has(code) && !isOfCatalogs) {
          unexpected.push(`${code} ${message}: ${text} ${where}`);
        }
        return false;
      },
    );
  const table = () => `t${session}_${pick([1, 2, 3])}`;
  const place = () => `${pick(schemas)}.${table()}`;
  const makers = [
    () => `create table ${place()} (id int, m s1.mood)`,
    () => `create table ${place()} (id int primary key)`,
    () => `drop table ${place()}`,
    () => `alter table ${place()} add column c${pick([1, 2, 3])} int`,
    () => `alter table ${place()} drop column c${pick([1, 2, 3])}`,
    () => `alter table ${place()} set schema ${pick(schemas)}`,
    () => `alter table ${place()} rename to ${table()}`,
    () => `create index on ${place()} (id)`,
    () => `comment on table ${place()} is '${random()}'`,
    () => `create temp table if not exists mine (id int)`,
  ];

  await sql.unsafe(`set pgstream.lock_timeout = '${pick(['10ms', '100ms', '1s'])}'`);
  if (random() < 0.3) await sql.unsafe(`set lock_timeout = '50ms'`);
  for (let count = 0; count < options.statements; count += 3) {
    if (random() < 0.5) {
      for (let n = 0; n < 3; n++) await succeeds(pick(makers)());
      continue;
    }
    await sql.unsafe(`begin isolation level ${pick(levels)}`);
    for (let n = 0; n < 3; n++) {
      await sql.unsafe('savepoint s');
      const kept = await succeeds(pick(makers)());
      await sql.unsafe(kept && random() < 0.7 ? 'release s' : 'rollback to s');
    }
    await succeeds(random() < 0.7 ? 'commit' : 'rollback');
  }
  await sql.end();
  return unexpected;
}

const schemas = ['s1', 's2', 's3'];
const levels = ['read committed', 'read committed', 'repeatable read', 'serializable'];

/** Numbers in [0, 1) that a seed determines. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
