import { styleText } from 'node:util';
import type { PgstreamError } from '../errors.js';

const label = (format: Parameters<typeof styleText>[0], text: string) =>
  styleText(format, text, { stream: process.stderr });

/** Data: the only thing that goes to stdout. */
export const print = (text: string) => process.stdout.write(`${text}\n`);

/** Progress, for people. */
export const say = (text: string) => void process.stderr.write(`${text}\n`);

export const warn = (text: string) => say(`${label('yellow', 'WARNING')}  ${text}`);

/** The last line of a command that has done what it was asked to. */
export const succeed = (text: string) => print(`SUCCESS  ${text}`);

export function explain(error: PgstreamError): void {
  say(`${label('red', 'ERROR')}  ${error.message}`);
  if (error.hint) say(`${label('cyan', 'HINT')}   ${error.hint}`);
}
