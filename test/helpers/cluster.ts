import type { TestProject } from 'vitest/node';
import { startPostgres } from '../../src/embedded/start.js';
import { createTemplate } from './template.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the superuser, in database postgres of the cluster that the test files share. */
    clusterUrl: string;
  }
}

/**
 * Starts the throw-away cluster of a test run, once for all the projects that ask for it; the one
 * that started it stops it. PGSTREAM_TEST_POSTGRES asks for a major version.
 */
export default async function setup(
  project: TestProject,
): Promise<(() => Promise<void>) | undefined> {
  const root = project.vitest.getRootProject();
  if ('clusterUrl' in root.getProvidedContext()) return undefined;

  const major = process.env['PGSTREAM_TEST_POSTGRES'];
  const cluster = await startPostgres({ major: major ? Number(major) : undefined });
  try {
    await createTemplate(cluster.url);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  root.provide('clusterUrl', cluster.url);
  return () => cluster.stop();
}
