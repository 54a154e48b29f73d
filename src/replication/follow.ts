/** Follows a slot through the loss and return of connections. */
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../delivery/backoff.js';
import { PgstreamError, exitCode } from '../errors.js';
import type { Log } from '../log.js';
import { reconnectBackoff } from '../source/persist.js';
import { formatLsn } from './lsn.js';
import { slotError } from './slot-error.js';
import { openStream, type Arrival, type Stream, type StreamOptions } from './stream.js';

export type FollowerState = 'starting' | 'waiting' | 'streaming' | 'reconnecting';

export interface FollowOptions extends Omit<StreamOptions, 'startLsn'> {
  /** Where the next connection has to begin. */
  readonly resumeAt: () => bigint;
  /** Where the slot is confirmed up to, read while we hold it. */
  readonly slotPosition: () => Promise<bigint>;
  /** A connection is lost: what comes next comes from another one. */
  readonly onInterrupted: () => void;
  readonly log: Log;
}

const inUse = '55006';

export class SlotFollower {
  readonly #options: FollowOptions;
  #stream: Stream | undefined;
  #state: FollowerState = 'starting';

  constructor(options: FollowOptions) {
    this.#options = options;
  }

  get state(): FollowerState {
    return this.#state;
  }

  /**
   * All that arrives, over as many connections as it takes, until the signal fires. Throws a
   * PgstreamError on anything that waiting does not mend.
   */
  async *batches(signal: AbortSignal): AsyncGenerator<Arrival[]> {
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#connect();
        failures = 0;
        yield* this.#stream!.batches(signal);
        if (signal.aborted) return;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        const { connection, slot } = this.#options;
        await this.#pause(slotError(error, connection, slot), failures, signal);
      }
      await this.close();
      this.#options.onInterrupted();
    }
  }

  /** Confirms what is done and leaves the slot. What has arrived can still be read. */
  async close(): Promise<void> {
    await this.#stream?.close();
  }

  async #connect(): Promise<void> {
    const { resumeAt, log, slot } = this.#options;
    this.#stream = await openStream({ ...this.#options, startLsn: resumeAt() });
    if ((await this.#options.slotPosition()) > this.#options.confirmed()) {
      throw new PgstreamError('slot_moved', `another process has read from slot "${slot}"`, {
        hint: 'Start pgstream again: it goes on where that process left.',
      });
    }
    this.#state = 'streaming';
    log.info({ slot, position: formatLsn(resumeAt()) }, 'streaming');
  }

  async #pause(error: PgstreamError, failures: number, signal: AbortSignal): Promise<void> {
    if (error.code !== inUse && error.exitCode !== exitCode.cannotConnect) throw error;
    this.#state = error.code === inUse ? 'waiting' : 'reconnecting';
    const retryInMs = backoffMs(reconnectBackoff, failures, Math.random());
    this.#options.log.warn({ reason: error.message, retryInMs }, 'not streaming; trying again');
    await sleep(retryInMs, undefined, { signal }).catch(() => undefined);
  }
}
