/**
 * Up to where the slot may be confirmed, so that the record of it in the table survives a crash.
 *
 * Heartbeats are committed without waiting for the disk (synchronous_commit = off), so that a slow
 * disk costs nobody the lease. After a crash of the server such a commit can be missing, while the
 * slot's own file already has the position: the slot would look as if somebody else had moved it.
 * So a position counts only when the server says that it has flushed its log beyond the commit
 * which wrote it down. The end of that commit is not known; but all that the log held when a later
 * heartbeat began includes it.
 */
import type { Lsn } from '../replication/lsn.js';

/** What the server answered to a heartbeat. */
export interface Answer {
  /** The position that it wrote down. */
  readonly written: Lsn;
  /** What the log held before it, and how much of that was on disk. */
  readonly inserted: Lsn;
  readonly flushed: Lsn;
}

export class DurableRecord {
  #confirmed: Lsn;
  #waiting: { readonly position: Lsn; flushBy: Lsn | undefined }[] = [];

  constructor(confirmed: Lsn) {
    this.#confirmed = confirmed;
  }

  /** The greatest position whose record is durable. */
  get confirmed(): Lsn {
    return this.#confirmed;
  }

  get awaitsFlush(): boolean {
    return this.#waiting.length > 0;
  }

  answered({ written, inserted, flushed }: Answer): void {
    for (const record of this.#waiting) {
      record.flushBy ??= inserted;
      if (record.flushBy <= flushed) this.#advance(record.position);
    }
    this.#waiting = this.#waiting.filter(({ position }) => position > this.#confirmed);
    const newest = this.#waiting.at(-1)?.position ?? this.#confirmed;
    if (written > newest) this.#waiting.push({ position: written, flushBy: undefined });
  }

  /** A heartbeat failed: what was written before it may be lost, and is written again. */
  interrupted(): void {
    this.#waiting = [];
  }

  /** The position was written and flushed in one. */
  flushed(position: Lsn): void {
    this.#advance(position);
  }

  #advance(position: Lsn): void {
    if (position > this.#confirmed) this.#confirmed = position;
  }
}
