import type { PgstreamError } from '../errors.js';

/**
 * `error`: changes are not delivered, or not all of them; `warning`: that may come; `notice`: worth
 * knowing, and fine if it is meant.
 */
export type Severity = 'error' | 'warning' | 'notice';

export interface Finding {
  readonly severity: Severity;
  /** A SQLSTATE, or a short constant of ours. */
  readonly code: string;
  readonly what: string;
  /** The next command to type, or what else to do. */
  readonly next: string;
}

export const findingOf = (
  { code, message, hint }: PgstreamError,
  severity: Severity = 'error',
): Finding => ({ severity, code, what: message, next: hint ?? '' });

/** Whether nothing has to be done. */
export const isHealthy = (findings: readonly Finding[]): boolean =>
  findings.every(({ severity }) => severity === 'notice');

/** For people: each finding with its next step below. */
export function formatFindings(findings: readonly Finding[]): string {
  const width = 'WARNING'.length + 2;
  const lines = findings.flatMap(({ severity, what, next }) => [
    severity.toUpperCase().padEnd(width) + what,
    ...(next ? [' '.repeat(width) + next] : []),
  ]);
  return (isHealthy(findings) ? [...lines, `${'OK'.padEnd(width)}all is well`] : lines).join('\n');
}
