import { destination, pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import { build } from 'pino-pretty';
import { withoutValues } from './settings/server-error.js';

/** From the most to the least talkative. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const;

export type LogLevel = (typeof logLevels)[number];

/** What every part of the program logs to. */
export type Log = Logger;

const secretKeys = ['password', 'secret', 'token', 'authorization', 'Authorization', 'cookie'];
const secrets = secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]);

const urlPassword = /(:\/\/[^\s"'/:@]*):[^\s"'/]+@/g;

const stderr = (): DestinationStream =>
  process.stderr.isTTY
    ? build({
        destination: 2,
        sync: true,
        colorize: process.stderr.hasColors(),
        ignore: 'pid,hostname',
        translateTime: 'SYS:HH:MM:ss.l',
      })
    : destination({ dest: 2, sync: true });

/**
 * What a log says of an error: what it is, and where. Its cause and whatever else it carries stay
 * out, since drivers attach DETAIL, CONTEXT, parameters and bytes of answers.
 */
function told(error: Error): Error {
  const { message, code, hint, stack } = withoutValues(error) as Error & Record<string, unknown>;
  const bare = new Error(message);
  return Object.assign(bare, { stack }, code !== undefined && { code }, hint && { hint });
}

/** An error is logged as `err`, or alone. */
function tell(entry: unknown): unknown {
  if (entry instanceof Error) return told(entry);
  if (typeof entry !== 'object' || entry === null || !('err' in entry)) return entry;
  return entry.err instanceof Error ? { ...entry, err: told(entry.err) } : entry;
}

/**
 * A logger to stderr: lines for people on a terminal, JSON elsewhere. Values under names such as
 * `password`, `secret` and `authorization` are hidden, down to the third level, and so are the
 * passwords of URLs wherever they appear; of errors, what may hold a value of a row.
 */
export const createLog = (level: LogLevel, output: DestinationStream = stderr()): Log =>
  pino(
    {
      level,
      redact: secrets,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        logMethod([entry, ...rest], method) {
          method.apply(this, [tell(entry), ...rest] as Parameters<typeof method>);
        },
        streamWrite: (line) => line.replace(urlPassword, '$1:[Redacted]@'),
      },
    },
    output,
  );
