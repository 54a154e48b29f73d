import { PgstreamError, exitCode } from '../errors.js';

/** A setting that the user has to correct: exit code 2. */
export const usageError = (code: string, message: string, hint: string): PgstreamError =>
  new PgstreamError(code, message, { hint, exitCode: exitCode.usage });
