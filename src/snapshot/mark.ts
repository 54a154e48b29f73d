/** Marks the place in the log at which a chunk is handed out. */
import { randomUUID } from 'node:crypto';
import type { Sql } from 'postgres';
import type { Chunk, Outcome, Seams } from './seams.js';

interface MarkOptions {
  readonly sql: Sql;
  readonly seams: Seams;
  readonly signal: AbortSignal;
}

/** Resolves when the stream has brought the mark, and all of the chunk has been dealt with. */
export async function markChunk(
  chunk: Omit<Chunk, 'settle'>,
  { sql, seams, signal }: MarkOptions,
): Promise<Outcome> {
  const mark = randomUUID();
  const outcome = new Promise<Outcome>((settle) => {
    seams.expect(mark, { ...chunk, settle });
  });
  try {
    await writeMark(sql, mark);
  } catch (error) {
    // Its answer may have been lost, but not the mark.
    if (seams.withdraw(mark)) throw error;
  }
  return unlessAborted(outcome, signal);
}

/**
 * A row of a table that is published, and never there for anybody. A standby need not have it.
 */
const writeMark = (sql: Sql, mark: string) =>
  sql.begin(async (tx) => {
    await tx`select set_config('synchronous_commit', 'local', true)`;
    await tx`insert into pgstream.snapshot_marks (id) values (${mark})`;
    await tx`delete from pgstream.snapshot_marks where id = ${mark}`;
  });

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop!);
  }
}
