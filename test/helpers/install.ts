/** Installing and removing, as users do it. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { TestDatabase } from './database.js';
import { startRunner } from './runner.js';

const root = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

/** Runs a file of sql/ with psql; rejects with what psql printed. */
export const psqlFile = ({ url }: TestDatabase, file: string) =>
  run('psql', ['-X', url, '-f', path.join(root, 'sql', file)]);

export const hasPsql = await run('psql', ['--version']).then(
  () => true,
  () => false,
);
if (!hasPsql) console.warn('no psql on PATH: installing and removing with psql is not tested');

/** Runs the command line; answers what it printed for people. Rejects when it fails. */
export async function pgstream({ url }: TestDatabase, ...args: string[]): Promise<string> {
  const runner = startRunner(args, { env: { PGSTREAM_POSTGRES_LISTENER_URL: url } });
  const { code } = await runner.exited;
  if (code !== 0) throw new Error(`exit code ${code}: ${runner.stderr}`);
  return runner.stderr;
}

const createPublications = ({ sql }: TestDatabase) => sql`select pgstream.create_publications()`;

/** The ways to install and to upgrade, with the publications; each returns what it told people. */
export const install = {
  init: (database: TestDatabase) => pgstream(database, 'init'),
  async migrate(database: TestDatabase) {
    const told = await pgstream(database, 'migrate', 'up');
    await createPublications(database);
    return told;
  },
  async psql(database: TestDatabase) {
    const { stderr } = await psqlFile(database, 'install.sql');
    await createPublications(database);
    return stderr;
  },
};
export type Way = keyof typeof install;

export const ways: Way[] = hasPsql ? ['init', 'migrate', 'psql'] : ['init', 'migrate'];
