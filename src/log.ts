import { destination, pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import { build } from 'pino-pretty';

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
 * A logger to stderr: lines for people on a terminal, JSON elsewhere. Values under names such as
 * `password`, `secret` and `authorization` are hidden, down to the third level, and so are the
 * passwords of URLs wherever they appear.
 */
export const createLog = (level: LogLevel, output: DestinationStream = stderr()): Log =>
  pino(
    {
      level,
      redact: secrets,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: (line) => line.replace(urlPassword, '$1:[Redacted]@') },
    },
    output,
  );
