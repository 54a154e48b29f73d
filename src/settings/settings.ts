import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { PgstreamError } from '../errors.js';
import type { Environment } from './connection.js';
import { nearest } from './nearest.js';
import { settingNames, settingsSchema, toSettings, type Settings } from './schema.js';
import { isLoopback } from './server-address.js';
import { usageError } from './usage.js';

export type { Settings } from './schema.js';

const sourceUrl = 'PGSTREAM_POSTGRES_LISTENER_URL';
const serverAddress = 'PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS';
const serverToken = 'PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_TOKEN';

/** What the command line said; the names are commander's. */
export interface SettingsFlags {
  pgurl?: string | undefined;
  replicationSlot?: string | undefined;
  outputPlugin?: string | undefined;
  snapshotTables?: string | undefined;
  logLevel?: string | undefined;
}

const flagOf: Record<string, { key: keyof SettingsFlags; name: string }> = {
  PGSTREAM_POSTGRES_LISTENER_URL: { key: 'pgurl', name: '--pgurl' },
  PGSTREAM_POSTGRES_REPLICATION_SLOT_NAME: { key: 'replicationSlot', name: '--replication-slot' },
  PGSTREAM_POSTGRES_OUTPUT_PLUGIN: { key: 'outputPlugin', name: '--output-plugin' },
  PGSTREAM_POSTGRES_SNAPSHOT_TABLES: { key: 'snapshotTables', name: '--snapshot-tables' },
  PGSTREAM_LOG_LEVEL: { key: 'logLevel', name: '--log-level' },
};

const notYet: [pattern: RegExp, subject: string][] = [
  [/^PGSTREAM_POSTGRES_(LISTENER_)?(INITIAL_)?SNAPSHOT_/, 'setting of this kind for snapshots'],
  [/^PGSTREAM_TRANSFORMER_/, 'transformers'],
  [/^PGSTREAM_FILTER_/, 'filters'],
];

function readConfigFile(path: string): Environment {
  if (/\.ya?ml$/i.test(path)) {
    throw usageError(
      'unreadable_config',
      `${path} is YAML, which is not supported`,
      'Write the settings as KEY=value lines in a .env file.',
    );
  }
  try {
    const text = readFileSync(path, 'utf8');
    refuseProse(path, text);
    return parseEnv(text);
  } catch (error) {
    if (error instanceof PgstreamError) throw error;
    throw usageError(
      'unreadable_config',
      `the configuration file ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      'Correct the path after -c, or the permissions of the file.',
    );
  }
}

/** Refuses a line that is no setting: parseEnv would pass over it in silence. */
function refuseProse(path: string, text: string): void {
  const withoutQuoted = text.replace(/(=\s*)(["'`])[\s\S]*?\2/g, (quoted) =>
    quoted.replace(/[^\n]/g, '='),
  );
  const isSetting = /^\s*(#.*|(export\s+)?[\w.-]+\s*=.*)?$|^\s*=+/;
  const line = withoutQuoted.split(/\r?\n/).findIndex((each) => !isSetting.test(each));
  if (line < 0) return;
  throw usageError(
    'unreadable_config',
    `${path}:${line + 1} is not a setting`,
    'write one KEY=value a line, and # before a comment',
  );
}

interface Problem {
  origin: string;
  message: string;
  hint?: string | undefined;
}

/** What is wrong with the name of a setting, if anything. */
function problemOfName(name: string): Omit<Problem, 'origin'> | undefined {
  if (!name.startsWith('PGSTREAM_') || name.startsWith('PGSTREAM_TEST_')) return undefined;
  if (settingNames.includes(name)) return undefined;
  const subject = notYet.find(([pattern]) => pattern.test(name))?.[1];
  if (subject) return { message: `this version has no ${subject}`, hint: 'Remove it.' };
  const meant = nearest(name, settingNames);
  return {
    message: 'there is no setting of this name',
    hint: meant ? `Did you mean ${meant}?` : 'Remove it.',
  };
}

function settingsError(problems: Problem[]): PgstreamError {
  const [first] = problems;
  if (first && problems.length === 1) {
    const { origin, message, hint = `Correct ${origin}.` } = first;
    return usageError('invalid_settings', `${origin}: ${message}`, hint);
  }
  const lines = problems.map(({ origin, message, hint }) =>
    [`- ${origin}: ${message}`, ...(hint ? [`  ${hint}`] : [])].join('\n'),
  );
  return usageError(
    'invalid_settings',
    [`${problems.length} settings are wrong:`, ...lines].join('\n'),
    'Correct all of them and start again.',
  );
}

/**
 * Reads the settings of `run`: a flag wins over the environment, that over `configFile` (lines of
 * KEY=value), that over the default. DATABASE_URL and PG* in the file count as part of the
 * environment. An empty value counts as not given.
 *
 * @throws one usage error that lists everything that is wrong, and where each value came from.
 */
export function loadSettings({
  flags = {},
  env,
  configFile,
}: {
  flags?: SettingsFlags;
  env: Environment;
  configFile?: string | undefined;
}): Settings {
  const file = configFile === undefined ? {} : readConfigFile(configFile);
  const sources = [
    { values: env, origin: (name: string) => `environment ${name}` },
    { values: file, origin: (name: string) => `${configFile}:${name}` },
  ];
  const find = (name: string) => {
    const flag = flagOf[name];
    const flagged = flag && flags[flag.key];
    if (flagged) return { value: flagged, origin: `flag ${flag.name}` };
    const source = sources.find(({ values }) => values[name]);
    return source && { value: source.values[name], origin: source.origin(name) };
  };

  const problems: Problem[] = sources.flatMap(({ values, origin }) =>
    Object.keys(values).flatMap((name) => {
      const problem = problemOfName(name);
      return problem ? [{ origin: origin(name), ...problem }] : [];
    }),
  );

  const given = Object.fromEntries(settingNames.map((name) => [name, find(name)]));
  given[sourceUrl] ??= find('DATABASE_URL') ?? { value: '', origin: 'the source database' };
  const environment = Object.fromEntries(
    [file, env].flatMap((values) => Object.entries(values).filter(([, value]) => value)),
  );
  const schema = settingsSchema(environment);
  const parsed = schema.safeParse(
    Object.fromEntries(settingNames.map((name) => [name, given[name]?.value])),
  );
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0]);
    problems.push({
      origin: given[name]?.origin ?? name,
      message: issue.message,
      hint: issue.code === 'custom' ? issue.params?.['hint'] : undefined,
    });
  }

  const listen = given[serverAddress];
  const address = listen && schema.shape[serverAddress].safeParse(listen.value).data;
  if (address && !isLoopback(address) && !given[serverToken]) {
    problems.push({
      origin: listen.origin,
      message: `other machines can reach ${listen.value}, and no token guards it`,
      hint: `Set ${serverToken}, or listen on 127.0.0.1.`,
    });
  }
  if (!parsed.success || problems.length > 0) throw settingsError(problems);
  return toSettings(parsed.data);
}
