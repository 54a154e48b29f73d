import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { execute } from '../helpers/documentation.js';

const hasPsql = spawnSync('psql', ['--version']).status === 0;
const folder = path.resolve(import.meta.dirname, '../../fdw-examples');
const examples = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

it('there is an example for each way to get at the data of another database', () => {
  expect(examples).toHaveLength(7);
});

describe.runIf(hasPsql)('the example', () => {
  it.each(examples)('%s does what it shows, step by step', (name) =>
    execute(`fdw-examples/${name}/README.md`),
  );
});
