/** Results as tables, for a terminal and for RESULTS.md. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { format } from 'prettier';
import { findPostgres } from '../dist/embedded/find.js';
import { isNative } from './receiver.mjs';

export function print({ title, options, columns, lines, seconds, notes = [] }) {
  console.log(`\n${title}, ${describe(options)}, ${seconds.toFixed(0)} s`);
  const widths = columns.map((column, i) =>
    Math.max(column.length, ...lines.map((line) => line[i].length)),
  );
  for (const line of [columns, ...lines]) {
    console.log(line.map((cell, i) => cell.padEnd(widths[i])).join('  '));
  }
  for (const note of notes) console.log(note);
}

export async function markdown(results) {
  const { version } = await findPostgres();
  const undici = createRequire(import.meta.url).resolve('undici/package.json');
  const versions = [
    `PostgreSQL ${version}`,
    `Node ${process.versions.node}`,
    `undici ${JSON.parse(readFileSync(undici, 'utf8')).version}`,
  ];
  const cpus = os.cpus();
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  const text = [
    '# Results',
    `Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}, in ${Math.round(seconds)} seconds. ${cpus.length} cores (${cpus[0].model.trim()}), which the server, the runner, the receiver and the writer share; ${versions.join(', ')}. ${receiver()}`,
    'Each figure is the median of the rounds. In each round, ours and the limit are measured one after the other, in turn first. A ratio is ours to the limit in the same round: the median, and in brackets the least and the most.',
    ...results.flatMap(section),
  ].join('\n\n');
  return format(text, { parser: 'markdown' });
}

const receiver = () =>
  isNative()
    ? 'The receiver is a native one.'
    : '**There was no C compiler: the receiver is a slow one, and limits the figures.**';

function section({ title, about, options, columns, lines, notes = [] }) {
  const table = [columns, columns.map(() => '---'), ...lines];
  return [
    `## ${title}`,
    `${about} (${describe(options)})`,
    table.map((line) => `| ${line.join(' | ')} |`).join('\n'),
    ...notes,
  ];
}

const describe = (options) =>
  Object.entries(options)
    .filter(([name]) => name !== 'sizes') // a column of its own
    .map(
      ([name, value]) =>
        `${[value]
          .flat()
          .map((each) => each.toLocaleString('en'))
          .join('/')} ${name}`,
    )
    .join(', ');
