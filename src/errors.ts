/** Exit codes of the command line. */
export const exitCode = {
  done: 0,
  failed: 1,
  usage: 2,
  unhealthy: 3,
  cannotConnect: 4,
} as const;

export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

interface PgstreamErrorOptions {
  /** The next step to take, as one sentence or one command. */
  hint?: string | undefined;
  exitCode?: ExitCode;
  cause?: unknown;
}

/**
 * An error that a user is meant to read: `message` says what is wrong, `hint` what to do next.
 * `code` is a SQLSTATE where Postgres gave one, otherwise a short constant of ours.
 */
export class PgstreamError extends Error {
  override readonly name = 'PgstreamError';
  readonly code: string;
  readonly hint: string | undefined;
  readonly exitCode: ExitCode;

  constructor(code: string, message: string, options: PgstreamErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? exitCode.failed;
  }
}
