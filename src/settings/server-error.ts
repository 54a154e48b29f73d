/**
 * What may be told of an error of Postgres to people who may not see the rows that it is about.
 *
 * Invariant: nothing that a row holds leaves the session that met the error, except as its SQLSTATE.
 * States, logs, `GET /status` and answers of HTTP are read by operators, by owners after a REVOKE and
 * by whoever keeps the logs. So
 * - of a statement that runs code of others over rows (a filter, a payload, a policy, a generated
 *   column, a trigger) no text is told at all, since that code can write what it likes into all of
 *   them, whatever the SQLSTATE: `withoutTexts`;
 * - of a statement of ours alone, the message is told unless it is one that quotes values:
 *   `withoutValues`;
 * - the DETAIL of a constraint that is not kept is a row, and is told to nobody.
 *
 * Whoever may see the row asks again as themselves, with pgstream.preview(), and reads it all.
 */
import { conditionOf } from './sqlstate.js';

/** As `pg` and `postgres` make it: only what a server has said has a severity. */
interface ServerError extends Error {
  readonly code: string;
  readonly severity: string;
  readonly detail?: string;
  readonly hint?: string;
  /** The function of the server's source that has raised it, which no SQL can choose. */
  readonly routine?: string;
}

export const isServerError = (error: unknown): error is ServerError =>
  error instanceof Error &&
  'severity' in error &&
  'code' in error &&
  typeof error.code === 'string';

/** `invalid input syntax for type integer: "…"`. What RAISE says was written by the function. */
const quotesValues = ({ code, routine }: ServerError) =>
  code.startsWith('22') && routine !== 'exec_stmt_raise';

/** `Key (email)=(…) already exists.`, `Failing row contains (…).` */
export const isDetailARow = (code: string): boolean => code.startsWith('23');

/** An error of a server with its SQLSTATE and nothing else; any other error as it is. */
export const withoutTexts = (error: unknown): unknown =>
  isServerError(error) ? bare(error, conditionOf(error.code)) : error;

/** An error of a server without what can quote a value; any other error as it is. */
export function withoutValues(error: unknown): unknown {
  if (!isServerError(error)) return error;
  if (quotesValues(error)) return withoutTexts(error);
  const { code, message, detail, hint } = error;
  return Object.assign(bare(error, message), { hint, ...(!isDetailARow(code) && { detail }) });
}

/** Its stack, which begins with the message, goes as well, and its cause. */
const bare = ({ code, severity }: ServerError, message: string): Error =>
  Object.assign(new Error(message), { code, severity });
