import type { TestProject } from 'vitest/node';
import { startPostgres } from '../../src/embedded/start.js';
import { createTemplate } from './template.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the superuser, in database postgres of a throw-away cluster; one for each worker. */
    clusterUrls: readonly string[];
  }
}

/** As many as there are workers; see vitest.config.ts. */
const workers = 4;

/**
 * Starts the throw-away clusters of a test run, once for all the projects that ask for them; the one
 * that started them stops them. PGSTREAM_TEST_POSTGRES asks for a major version, DDL_SESSIONS for so
 * many connections more.
 */
export default async function setup(
  project: TestProject,
): Promise<(() => Promise<void>) | undefined> {
  const root = project.vitest.getRootProject();
  if ('clusterUrls' in root.getProvidedContext()) return undefined;

  const major = process.env['PGSTREAM_TEST_POSTGRES'];
  const more = Number(process.env['DDL_SESSIONS'] ?? 0);
  const options = {
    major: major ? Number(major) : undefined,
    settings: { max_connections: 120 + more, max_prepared_transactions: 20 },
  };
  const clusters = await Promise.all(Array.from({ length: workers }, () => startPostgres(options)));
  const stop = async () => {
    await Promise.all(clusters.map((cluster) => cluster.stop()));
  };
  try {
    await Promise.all(clusters.map(({ url }) => createTemplate(url)));
  } catch (error) {
    await stop();
    throw error;
  }
  root.provide(
    'clusterUrls',
    clusters.map(({ url }) => url),
  );
  return stop;
}
