/** A longer wait than this is not granted. */
const longestMs = 24 * 60 * 60_000;

/** A date as today's servers send it, or in one of two forms of old. */
const httpDate = /^[A-Z][a-z]{2,8},? [\w -]+ \d\d:\d\d:\d\d (?:GMT|\d{4})$/;

/**
 * How many milliseconds from `now` (since the epoch) an endpoint asks to be left alone: seconds, or
 * an HTTP date. 0 where the date has passed, at most a day, undefined where it asks nothing that can
 * be understood.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
 */
export function retryAfterMs(value: string | undefined, now: number): number | undefined {
  const text = value?.trim() ?? '';
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : parseHttpDate(text) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), longestMs);
}

function parseHttpDate(text: string): number {
  if (!httpDate.test(text)) return NaN;
  return Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
}
