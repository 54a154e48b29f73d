/**
 * Runs measurements: those named, in full; or all of them, in short, into RESULTS.md.
 *
 *   npm run bench
 *   npm run bench:drain [-- --rows 200000 --rounds 3]
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import '../scripts/in-memory.mjs';
import { markdown, print } from './report.mjs';

const all = [
  'drain',
  'webhook',
  'latency',
  'many',
  'filters',
  'outage',
  'ddl',
  'guest',
  'refresh',
  'snapshot',
  'memory',
];

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean' },
    rounds: { type: 'string' },
    rows: { type: 'string' },
    seconds: { type: 'string' },
  },
});
const { quick, ...given } = values;
const settings = Object.fromEntries(Object.entries(given).map(([name, n]) => [name, Number(n)]));

const results = [];
for (const name of positionals.length > 0 ? positionals : all) {
  const measurement = await import(`./${name}.mjs`);
  const isQuick = quick ?? positionals.length === 0;
  const options = { ...(isQuick ? measurement.quick : measurement.full) };
  for (const option of Object.keys(options)) options[option] = settings[option] ?? options[option];
  const start = performance.now();
  const result = { ...measurement, options, ...(await measurement.measure(options)) };
  result.seconds = (performance.now() - start) / 1000;
  print(result);
  results.push(result);
}
if (positionals.length === 0) {
  const file = path.join(import.meta.dirname, 'RESULTS.md');
  writeFileSync(file, await markdown(results));
  console.log(`written to ${file}`);
}
