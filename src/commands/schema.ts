import type { Command } from 'commander';
import { oneLine, qualified } from '../schema/describe.js';
import { diffSchemas, formatChange, type Change } from '../schema/diff.js';
import {
  parseVersion,
  readSchemaLog,
  readVersions,
  type LogEntry,
  type WholeVersion,
} from '../schema/log.js';
import { outlineOf } from '../schema/outline.js';
import { loadSettings } from '../settings/settings.js';
import { connectionFlags, type ConnectionFlags } from './flags.js';
import { print } from './output.js';

interface LogFlags extends ConnectionFlags {
  json?: boolean;
}

interface VersionFlags extends LogFlags {
  schema: string;
}

const nothingDiffers = 'nothing differs';

export function addSchema(program: Command): void {
  const schema = program.command('schema').description('the versions of a schema, as logged');

  connectionFlags(schema.command('log'))
    .description('list the versions of a schema, oldest first, and what each of them changed')
    .argument('[schema]', 'the name of the schema', 'public')
    .option('--json', 'print one JSON object')
    .action(async (name: string, flags: LogFlags) => {
      const entries = await readSchemaLog(sourceOf(flags), name);
      print(flags.json ? jsonOfLog(entries) : formatLog(entries));
    });

  versionFlags(schema.command('diff'))
    .description('tell what differs between two versions')
    .argument('<from>', 'a version, or latest')
    .argument('<to>', 'a version, or latest')
    .action(async (first: string, second: string, flags: VersionFlags) => {
      const wanted = [parseVersion(first), parseVersion(second)];
      const [from, to] = await readVersions(sourceOf(flags), flags.schema, wanted);
      const changes = diffSchemas(flags.schema, from!.document, to!.document);
      if (flags.json) {
        const ends = { schema: flags.schema, from: Number(from!.version), to: Number(to!.version) };
        print(JSON.stringify({ ...ends, changes: changes.map(withLine) }));
      } else {
        print(changes.map(formatChange).join('\n') || nothingDiffers);
      }
    });

  versionFlags(schema.command('show'))
    .description('show the whole of a version')
    .argument('[version]', 'a version, or latest', 'latest')
    .action(async (version: string, flags: VersionFlags) => {
      const wanted = [parseVersion(version)];
      const [found] = await readVersions(sourceOf(flags), flags.schema, wanted);
      print(flags.json ? found!.text : formatVersion(found!));
    });
}

function formatVersion({ schema, version, createdAt, document }: WholeVersion): string {
  const head = `schema ${qualified(schema)}, version ${version}, ${createdAt} UTC`;
  return [oneLine(head), ...outlineOf(document)].join('\n');
}

const versionFlags = (command: Command) =>
  connectionFlags(command)
    .option('--schema <name>', 'the name of the schema', 'public')
    .option('--json', 'print one JSON object');

const sourceOf = (flags: ConnectionFlags) =>
  loadSettings({ flags, env: process.env, configFile: flags.config }).source;

const withLine = ({ kind, object, name, details }: Change) => ({ kind, object, name, details });

const jsonOfLog = (entries: readonly LogEntry[]) =>
  JSON.stringify({
    versions: entries.map(({ version, changes, ...entry }) => ({
      version: Number(version),
      ...entry,
      changes: changes.map(withLine),
    })),
  });

function formatLog(entries: readonly LogEntry[]): string {
  const rows = [
    ['version', 'schema', 'time (UTC)', 'acked', 'changes'],
    ...entries.map(({ version, schema, createdAt, acked, changes }) => [
      version,
      oneLine(qualified(schema)),
      createdAt,
      acked ? 'yes' : 'no',
      summaryOf(changes),
    ]),
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = ([version, ...cells]: readonly string[]) =>
    [version!.padStart(widths[0]!), ...cells.map((cell, i) => cell.padEnd(widths[i + 1]!))]
      .join('  ')
      .trimEnd();
  return rows.map(line).join('\n');
}

const mostInSummary = 3;

/** A few words: what came with a new table goes without saying. */
function summaryOf(changes: readonly Change[]): string {
  const main = changes.filter(({ isPart }) => !isPart);
  const lines = main.slice(0, mostInSummary).map(formatChange);
  if (main.length > mostInSummary) lines.push(`${main.length - mostInSummary} more`);
  return lines.join('; ') || nothingDiffers;
}
